// DNS names in their uncompressed wire form (RFC 1035 3.1), which DNSSL and DHCP option 119 both carry. Reading also
// follows the compression pointers option 119 allows.

import { PacketError, PacketValueError } from "./errors.ts";

/** @throws PacketValueError for an empty name, a label above 63 bytes or a name above 255. */
export function encodeDomainName(name: string): Buffer {
  const labels = name.replace(/\.$/, "").split(".").map((label) => Buffer.from(label, "latin1"));
  const bytes = Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
  if (bytes.length > 255 || labels.some((label) => label.length === 0 || label.length > 63)) {
    throw new PacketValueError("a domain name", name);
  }
  return bytes;
}

/** Whether names may be compressed, and whether zeros pad the list. */
export interface NameListForm {
  compressed: boolean;
  padded: boolean;
}

/** Names that fill `bytes`. `base` is added to error offsets. @throws PacketError */
export function decodeDomainNames(bytes: Buffer, form: NameListForm, base = 0): string[] {
  const names: string[] = [];
  let next = 0;
  while (next < bytes.length) {
    if (form.padded && bytes[next] === 0) break;
    const { name, end } = decodeName(bytes, next, form, base);
    names.push(name);
    next = end;
  }
  return names;
}

function decodeName(bytes: Buffer, start: number, form: NameListForm, base: number): { name: string; end: number } {
  const labels: string[] = [];
  let size = 1;
  let at = start;
  let end: number | undefined; // where the name ends in the list: behind the first pointer, if there is one
  let limit = start; // a pointer must go below every place visited, so chains end
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new PacketError("PACKET_TRUNCATED", base + at, "domain name is cut");
    if (length === 0) break;
    if (length >= 0xc0 && form.compressed) {
      const low = bytes[at + 1];
      if (low === undefined) throw new PacketError("PACKET_TRUNCATED", base + at, "domain name is cut");
      const target = ((length & 0x3f) << 8) | low;
      if (target >= limit) throw new PacketError("PACKET_MALFORMED", base + at, "name pointer does not go back");
      end ??= at + 2;
      limit = target;
      at = target;
      continue;
    }
    if (length > 63) throw new PacketError("PACKET_MALFORMED", base + at, "label type is unknown");
    if (at + 1 + length > bytes.length) throw new PacketError("PACKET_TRUNCATED", base + at, "domain name is cut");
    size += 1 + length;
    if (size > 255) throw new PacketError("PACKET_MALFORMED", base + at, "domain name is above 255 bytes");
    labels.push(bytes.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join("."), end: end ?? at + 1 };
}
