// Flow-mods that differ in a few numbers only, made from bytes encoded once. Which bytes a number ends up in is not
// described anywhere a second time: it is found by encoding the flow-mod with one bit set after the other and looking at
// what changes. So a template takes whatever encodeFlowMod takes, and a number may stand in several places.

import { badValue } from "../wire/errors.ts";
import { encodeFlowMod, MAX_MESSAGE, type FlowMod } from "./flow-mod.ts";
import { writeU32 } from "../match/value.ts";

/** One byte of the message that holds bits of a number. */
interface Patch {
  readonly slot: number;
  /** Bits of the number below this byte. */
  readonly shift: number;
  readonly at: number;
}

/** Numbers above 32 bits are cut in two, and each half is patched on its own. */
const HALF = 0x100000000;

export class FlowModTemplate {
  /** Bytes of every flow-mod that this template writes. */
  readonly length: number;
  private readonly bytes: Buffer;
  /** Two numbers each: a slot, and the highest value of its number. Whole words are checked as they are written. */
  private readonly limits: readonly number[];
  /** Two numbers a patch of four bytes, a whole number of 32 bits: slot and offset. */
  private readonly words: readonly number[];
  /** Three numbers a patch of one byte: slot, shift and offset; those of `highs` above the lower 32 bits. */
  private readonly lows: readonly number[];
  private readonly highs: readonly number[];

  constructor(bytes: Buffer, widths: readonly number[], patches: readonly Patch[]) {
    this.length = bytes.length;
    this.bytes = bytes;
    const words: number[] = [];
    const lows: number[] = [];
    const highs: number[] = [];
    const key = (slot: number, shift: number, at: number): string => `${slot}/${shift}/${at}`;
    const left = new Map(patches.map((patch) => [key(patch.slot, patch.shift, patch.at), patch]));
    for (const { slot, shift, at } of patches) {
      const four = [0, 1, 2, 3].map((i) => key(slot, 24 - 8 * i, at + i));
      if (widths[slot] !== 32 || shift !== 24 || !four.every((k, i) => left.has(k) && bytes[at + i] === 0)) continue;
      for (const k of four) left.delete(k);
      words.push(slot, at);
    }
    for (const { slot, shift, at } of left.values()) {
      if (shift < 32) lows.push(slot, shift, at);
      else highs.push(slot, shift - 32, at);
    }
    const inWords = new Set(words.filter((_, i) => i % 2 === 0));
    this.limits = widths.flatMap((width, slot) => (width === 32 && inWords.has(slot) ? [] : [slot, 2 ** width - 1]));
    this.words = words;
    this.lows = lows;
    this.highs = highs;
  }

  /**
   * Writes the flow-mod with these numbers, in the order of the widths; returns the offset after it.
   * @throws OpenFlowError OF_VALUE when a number is not whole or too wide, or the buffer too small
   */
  write(buf: Buffer, off: number, values: readonly number[], xid = 0): number {
    const { limits, words, lows, highs } = this;
    const end = off + this.length;
    if (!(off >= 0 && end <= buf.length)) throw badValue("the buffer is too small");
    for (let i = 0; i < limits.length; i += 2) {
      const value = values[limits[i]!]!;
      if (!(value >= 0 && value <= limits[i + 1]!) || Math.floor(value) !== value) throw unfit(limits[i]!, value);
    }
    buf.set(this.bytes, off);
    if (xid !== 0) writeU32(buf, off + 4, xid);
    for (let i = 0; i < words.length; i += 2) {
      const value = values[words[i]!]!;
      if (value >>> 0 !== value) throw unfit(words[i]!, value);
      writeU32(buf, off + words[i + 1]!, value);
    }
    for (let i = 0; i < lows.length; i += 3) {
      const at = off + lows[i + 2]!;
      buf[at] = buf[at]! | (values[lows[i]!]! >>> lows[i + 1]!);
    }
    for (let i = 0; i < highs.length; i += 3) {
      const at = off + highs[i + 2]!;
      buf[at] = buf[at]! | ((values[highs[i]!]! / HALF) >>> highs[i + 1]!);
    }
    return end;
  }
}

function unfit(slot: number, value: number | undefined): Error {
  return badValue(`number ${slot} of the template: ${String(value)} is not a whole number of its width`);
}

/**
 * A template of the flow-mods that `make` gives: `widths[i]` is how many bits (1 to 53) its i-th argument has. Each
 * argument must end up in the message bit by bit, on byte boundaries; the message must not change its length with it.
 *
 *     const rule = flowModTemplate([32, 16], (address, port) => ({
 *       command: "add", match: { eth_type: 0x800, ipv4_dst: address },
 *       instructions: [{ type: "apply_actions", actions: [{ type: "output", port }] }] }));
 *     end = rule.write(buf, off, [0x0a000001, 3]);
 *
 * @throws OpenFlowError OF_VALUE when the numbers do not end up as said, or what encodeFlowMod throws
 */
export function flowModTemplate(widths: readonly number[], make: (...values: number[]) => FlowMod): FlowModTemplate {
  if (!widths.every((width) => Number.isInteger(width) && width >= 1 && width <= 53)) throw badValue("a template's numbers have 1 to 53 bits");
  const scratch = Buffer.alloc(MAX_MESSAGE + 1);
  const encode = (values: readonly number[]): Buffer => Buffer.from(scratch.subarray(0, encodeFlowMod(scratch, 0, make(...values))));
  const zeroes = widths.map(() => 0);
  const base = encode(zeroes);
  const patches = new Map<string, Patch>();
  for (const [slot, width] of widths.entries()) {
    for (let bit = 0; bit < width; bit++) {
      const changed = encode(zeroes.with(slot, 2 ** bit));
      if (changed.length !== base.length) throw badValue(`the length of the flow-mod depends on number ${slot} of the template`);
      let found = false;
      for (let at = 0; at < base.length; at++) {
        const flipped = changed[at]! ^ base[at]!;
        if (flipped === 0) continue;
        if (flipped !== 1 << (bit & 7) || (base[at]! & flipped) !== 0) throw badValue(`number ${slot} of the template changes byte ${at} in a way that is not its own value`);
        const shift = bit & ~7;
        patches.set(`${slot}/${shift}/${at}`, { slot, shift, at });
        found = true;
      }
      if (!found) throw badValue(`bit ${bit} of number ${slot} of the template is not in the flow-mod`);
    }
  }
  const template = new FlowModTemplate(base, widths, [...patches.values()]);
  // Bits may work together: with all of them set, and with every other one, the result has to be the same as well.
  for (const pattern of [widths.map((width) => 2 ** width - 1), widths.map((width) => alternating(width)), widths.map((width) => 2 ** width - 1 - alternating(width))]) {
    const whole = encode(pattern);
    const ours = Buffer.alloc(base.length);
    template.write(ours, 0, pattern);
    if (!ours.equals(whole)) throw badValue("the numbers of the template affect more than their own places");
  }
  return template;
}

function alternating(width: number): number {
  let value = 0;
  for (let bit = 0; bit < width; bit += 2) value += 2 ** bit;
  return value;
}
