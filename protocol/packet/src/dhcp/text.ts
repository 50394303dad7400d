// Values of options as dnsmasq has them written, of either family: lists by commas, decimal or 0x numbers, times with a unit, hex bytes with colons.

export const items = (text: string): string[] => text.split(",").map((item) => item.trim());

/** The highest that fits: for ever. */
export const SECONDS_MAX = 0xffffffff;
const secondsPerUnit: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

/** Seconds of `infinite`, or of a number that may have a unit; NaN: it is neither. */
export function secondsOf(text: string): number {
  if (text === "infinite") return SECONDS_MAX;
  const time = /^([0-9]+)([smhdw]?)$/i.exec(text);
  return time === null ? Number.NaN : Number(time[1]) * (secondsPerUnit[time[2]!.toLowerCase()] ?? 1);
}

export function unsigned(size: 1 | 2 | 4, value: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}

const hexText = /^[0-9a-f]{2}(:[0-9a-f]{2})*$/i;

/** Untyped values as dnsmasq guesses them: hex with colons, addresses, the shortest number, else the text itself. `addresses`: undefined where the text is no list of them. */
export function guess(text: string, addresses: (text: string) => Buffer | undefined): Buffer {
  if (text.includes(":") && hexText.test(text)) return Buffer.from(text.replaceAll(":", ""), "hex");
  const found = addresses(text);
  if (found !== undefined) return found;
  const value = /^([0-9]+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  return value <= 0xffffffff ? unsigned(value > 0xffff ? 4 : value > 0xff ? 2 : 1, value) : Buffer.from(text, "utf8");
}
