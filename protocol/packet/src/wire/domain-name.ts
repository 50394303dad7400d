// Names as DNS writes them (RFC 1035 3.1): labels with a length each. DNS itself, DNSSL and the options of DHCP and DHCPv6
// use them; compression (4.1.4) is followed where it is allowed. Text is the usual one: labels joined by dots, "." for the
// root, and inside a label \. \\ and \DDD for what would mislead (5.1). Nothing is done about IDNA: labels are bytes.

import { PacketError, PacketValueError } from "./errors.ts";
import type { Form } from "./form.ts";

const labelMax = 63;
const nameMax = 255;
/** A name has at most 127 labels, so an honest chain of pointers is not longer. */
const pointersMax = 127;

/** Labels of a name in text; a trailing dot changes nothing. @throws PacketValueError */
export function nameLabels(name: string): Buffer[] {
  if (name === ".") return [];
  const labels: Buffer[] = [];
  let label: number[] = [];
  let size = 1;
  const finish = (): void => {
    size += 1 + label.length;
    if (label.length === 0 || label.length > labelMax || size > nameMax) throw new PacketValueError("a domain name", name);
    labels.push(Buffer.from(label));
    label = [];
  };
  for (let at = 0; at < name.length; at++) {
    let code = name.charCodeAt(at);
    if (name[at] === ".") {
      finish();
      continue;
    }
    if (name[at] === "\\") {
      const digits = /^[0-9]{3}/.exec(name.slice(at + 1, at + 4))?.[0];
      code = digits === undefined ? name.charCodeAt(at + 1) : Number(digits);
      at += digits?.length ?? 1;
    }
    if (!(code <= 0xff)) throw new PacketValueError("a domain name", name);
    label.push(code);
  }
  if (label.length > 0 || labels.length === 0) finish();
  return labels;
}

/** @throws PacketValueError for an empty name, a label above 63 bytes or a name above 255. */
export function encodeDomainName(name: string): Buffer {
  return Buffer.concat([...nameLabels(name).flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)]);
}

function labelText(bytes: Buffer, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === 0x2e || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`;
    else if (byte <= 0x20 || byte === 0x7f) text += `\\${String(byte).padStart(3, "0")}`;
    else text += String.fromCharCode(byte);
  }
  return text;
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
    const { name, end } = decodeDomainName(bytes, next, form.compressed, base);
    names.push(name);
    next = end;
  }
  return names;
}

/** The name at `start` and where it ends. Pointers count from the start of `bytes`. @throws PacketError */
export function decodeDomainName(bytes: Buffer, start: number, compressed: boolean, base = 0): { name: string; end: number } {
  const labels: string[] = [];
  let size = 1;
  let at = start;
  let end: number | undefined; // where the name ends in the list: behind the first pointer, if there is one
  let limit = start; // a pointer must go below every place visited, so chains end
  let pointers = 0;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new PacketError("PACKET_TRUNCATED", base + at, "domain name is cut");
    if (length === 0) break;
    if (length >= 0xc0 && compressed) {
      const low = bytes[at + 1];
      if (low === undefined) throw new PacketError("PACKET_TRUNCATED", base + at, "domain name is cut");
      const target = ((length & 0x3f) << 8) | low;
      if (target >= limit) throw new PacketError("PACKET_MALFORMED", base + at, "name pointer does not go back");
      if (++pointers > pointersMax) throw new PacketError("PACKET_MALFORMED", base + at, "too many name pointers");
      end ??= at + 2;
      limit = target;
      at = target;
      continue;
    }
    if (length > labelMax) throw new PacketError("PACKET_MALFORMED", base + at, "label type is unknown");
    if (at + 1 + length > bytes.length) throw new PacketError("PACKET_TRUNCATED", base + at, "domain name is cut");
    size += 1 + length;
    if (size > nameMax) throw new PacketError("PACKET_MALFORMED", base + at, "domain name is above 255 bytes");
    labels.push(labelText(bytes, at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.length === 0 ? "." : labels.join("."), end: end ?? at + 1 };
}

function nameForm(compressed: boolean): Form<string> {
  return {
    read: (reader) => {
      const { name, end } = decodeDomainName(reader.bytes, reader.pos, compressed, reader.base);
      reader.skip(end - reader.pos);
      return name;
    },
    write: encodeDomainName,
  };
}

/** One name without compression. */
export const domain = nameForm(false);

/** One name; pointers count from the start of the Reader's bytes. Written without compression. */
export const compressedDomain = nameForm(true);

/**
 * One name that may lack its root, as DHCP clients send who know their host name only. Text with a dot at its end is
 * complete, without one it is not. RFC 4702 2.3, RFC 4704 4.2
 */
export const partialDomain: Form<string> = {
  read: (reader) => {
    if (reader.left === 0) return "";
    const complete = reader.bytes.at(-1) === 0;
    const bytes = complete ? reader.bytes : Buffer.concat([reader.bytes, Buffer.of(0)]);
    const { name, end } = decodeDomainName(bytes, reader.pos, false, reader.base);
    if (end !== bytes.length) reader.malformed("name ends before its option");
    reader.skip(reader.left);
    return complete && name !== "." ? `${name}.` : name;
  },
  write: (value) => {
    if (value === "") return Buffer.alloc(0);
    const encoded = encodeDomainName(value);
    return /(^|[^\\])(\\\\)*\.$/.test(value) ? encoded : encoded.subarray(0, -1);
  },
};
