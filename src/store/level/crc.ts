// Two CRC-32s: zlib's for our records, by Node where it has it (from 20.15) and else one byte at a time; Castagnoli's as LevelDB uses it.
import zlib from "node:zlib";

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

/** What `crc32` is where Node has none. */
export const ownCrc32: Crc = crcOf(0xedb88320);

/** IEEE 802.3. Continue a checksum by passing it as `seed`. */
export const crc32: Crc = (zlib as { readonly crc32?: Crc }).crc32 ?? ownCrc32;

/** Castagnoli, RFC 3720 B.4. */
export const crc32c: Crc = crcOf(0x82f63b78);

/** LevelDB stores a crc32c turned and shifted, for it may be among what another one is taken of. */
export const unmask = (masked: number): number => {
  const turned = (masked - 0xa282ead8) >>> 0;
  return ((turned >>> 17) | (turned << 15)) >>> 0;
};
