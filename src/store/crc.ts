// Two CRC-32s, one byte at a time: zlib's (Node has it only from 20.15) for our records, Castagnoli's as LevelDB uses it.

type Crc = (bytes: Uint8Array, seed?: number) => number;

/** @param polynomial reflected. */
function crcOf(polynomial: number): Crc {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let c = byte;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ polynomial : c >>> 1;
    return c;
  });
  return (bytes, seed = 0) => {
    let c = ~seed;
    for (let i = 0; i < bytes.length; i++) c = table[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8);
    return ~c >>> 0;
  };
}

/** IEEE 802.3. Continue a checksum by passing it as `seed`. */
export const crc32: Crc = crcOf(0xedb88320);

/** Castagnoli, RFC 3720 B.4. */
export const crc32c: Crc = crcOf(0x82f63b78);
