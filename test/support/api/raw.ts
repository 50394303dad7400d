// Frames as a test wants them, whatever they claim: IPv4 and IPv6 packets whole or in fragments, and how a VM sends them.
import type { Vm } from "../../../lab/vm.ts";

export const mac = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");

/** An address of either family as 4 or 16 bytes. */
export function addressBytes(text: string): Buffer {
  if (!text.includes(":")) return Buffer.from(text.split(".").map(Number));
  const [head = "", tail] = text.split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const [front, back] = [groups(head), groups(tail ?? "")];
  const middle = tail === undefined ? [] : Array<string>(8 - front.length - back.length).fill("0");
  return Buffer.from([...front, ...middle, ...back].map((g) => g.padStart(4, "0")).join(""), "hex");
}

/** RFC 1071. */
export function checksum(data: Buffer): number {
  const even = data.length % 2 === 0 ? data : Buffer.concat([data, Buffer.alloc(1)]);
  let sum = 0;
  for (let i = 0; i < even.length; i += 2) sum += even.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface Ends {
  readonly srcMac: string;
  readonly dstMac: string;
  readonly src: string;
  readonly dst: string;
}

/** What an IP packet carries, with a checksum that holds. `protocol` as IP has it. */
export interface Payload {
  readonly protocol: number;
  readonly body: Buffer;
}

function summed(ends: Ends, protocol: number, body: Buffer, at: number, pseudo: boolean): Payload {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const sum = checksum(Buffer.concat([...(pseudo ? [addressBytes(ends.src), addressBytes(ends.dst), length, Buffer.from([0, 0, 0, protocol])] : []), body]));
  body.writeUInt16BE(sum === 0 ? 0xffff : sum, at);
  return { protocol, body };
}

export function udp(ends: Ends, srcPort: number, dstPort: number, size = 100): Payload {
  const body = Buffer.alloc(8 + size, 0x78);
  body.writeUInt16BE(srcPort, 0);
  body.writeUInt16BE(dstPort, 2);
  body.writeUInt16BE(body.length, 4);
  body.writeUInt16BE(0, 6);
  return summed(ends, 17, body, 6, true);
}

/** A segment without data; `flags` as in the header, 2 for SYN. */
export function tcp(ends: Ends, srcPort: number, dstPort: number, flags: number): Payload {
  const body = Buffer.alloc(20);
  body.writeUInt16BE(srcPort, 0);
  body.writeUInt16BE(dstPort, 2);
  body[12] = 0x50;
  body[13] = flags;
  body.writeUInt16BE(0xffff, 14);
  return summed(ends, 6, body, 16, true);
}

/** One chunk of this type, of so many bytes; 1 is INIT. The checksum (CRC32c) is left 0: no VM is meant to take it. */
export function sctp(srcPort: number, dstPort: number, chunk: number, size = 20): Payload {
  const body = Buffer.alloc(12 + size);
  body.writeUInt16BE(srcPort, 0);
  body.writeUInt16BE(dstPort, 2);
  body[12] = chunk;
  body.writeUInt16BE(size, 14);
  return { protocol: 132, body };
}

/** ICMP or ICMPv6, by the family of the addresses; `rest` is what comes after the checksum. */
export function icmp(ends: Ends, type: number, rest: Buffer): Payload {
  const six = ends.src.includes(":");
  return summed(ends, six ? 58 : 1, Buffer.concat([Buffer.from([type, 0, 0, 0]), rest]), 2, six);
}

/** Of which bytes of what IP carries each fragment is, from and to; undefined: one whole packet. */
export type Cuts = readonly (readonly [from: number, to: number])[] | undefined;

/** Cuts for fragments that carry so many bytes each, but the last. */
export const every = (bytes: number, total: number): Cuts => Array.from({ length: Math.ceil(total / bytes) }, (_, i) => [i * bytes, Math.min(total, (i + 1) * bytes)] as const);

let identification = 1;

/** Frames of a packet. `extension` (IPv6): destination options of this many bytes, in front of the payload and within what is cut. */
export function frames(ends: Ends, { protocol, body }: Payload, cuts?: Cuts, extension = 0): Buffer[] {
  const id = identification++ & 0xffff;
  const six = ends.src.includes(":");
  const head = Buffer.concat([mac(ends.dstMac), mac(ends.srcMac), Buffer.from(six ? "86dd" : "0800", "hex")]);
  const options = extension === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([protocol, extension / 8 - 1, 1, extension - 4]), Buffer.alloc(extension - 4)]);
  const whole = Buffer.concat([options, body]);
  const first = extension === 0 ? protocol : 60;
  return (cuts ?? [[0, whole.length] as const]).map(([from, to]) => {
    const part = whole.subarray(from, to);
    const more = to < whole.length;
    return Buffer.concat([head, ...(six ? ipv6(ends, first, part, cuts === undefined ? undefined : { id, from, more }) : [ipv4(ends, first, part, { id, from, more }), part])]);
  });
}

interface Fragment {
  readonly id: number;
  readonly from: number;
  readonly more: boolean;
}

function ipv4(ends: Ends, protocol: number, part: Buffer, { id, from, more }: Fragment): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + part.length, 2);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE((more ? 0x2000 : 0) | (from / 8), 6);
  header[8] = 64;
  header[9] = protocol;
  addressBytes(ends.src).copy(header, 12);
  addressBytes(ends.dst).copy(header, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6(ends: Ends, next: number, part: Buffer, fragment: Fragment | undefined): Buffer[] {
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(part.length + (fragment === undefined ? 0 : 8), 4);
  header[6] = fragment === undefined ? next : 44;
  header[7] = 255;
  const cut = Buffer.alloc(fragment === undefined ? 0 : 8);
  if (fragment !== undefined) {
    cut[0] = next;
    cut.writeUInt16BE(fragment.from | (fragment.more ? 1 : 0), 2);
    cut.writeUInt32BE(fragment.id, 4);
  }
  return [header, addressBytes(ends.src), addressBytes(ends.dst), cut, part];
}

/** Sends Ethernet frames as they are, in this order. */
export async function sendRaw(vm: Vm, list: readonly Buffer[]): Promise<void> {
  const program = `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.stdin: s.send(bytes.fromhex(h.strip()))`;
  await vm.exec(["python3", "-c", program], { input: list.map((f) => f.toString("hex")).join("\n") });
}
