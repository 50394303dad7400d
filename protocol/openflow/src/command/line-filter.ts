// A filter of lines: one line in, one line out, in order, whatever is in it. Lines may come in any pieces; a line longer
// than the limit is answered as such and skipped, so memory stays bounded.

import type { Readable, Writable } from "node:stream";

export interface LineFilterOptions {
  /** Characters of a line; more is answered by `tooLong`. */
  readonly maxLine: number;
  readonly tooLong: string;
}

/** Answers every line of `input` (the last one needs no newline) with `answer(line)` on `output`; resolves at the end of input. */
export async function filterLines(input: Readable, output: Writable, options: LineFilterOptions, answer: (line: string) => string): Promise<void> {
  let held = "";
  let skipping = false;
  const reply = (line: string): string => {
    if (skipping || line.length > options.maxLine) {
      skipping = false;
      return `${options.tooLong}\n`;
    }
    return `${answer(line.endsWith("\r") ? line.slice(0, -1) : line)}\n`;
  };
  input.setEncoding("utf8");
  for await (const chunk of input as AsyncIterable<string>) {
    let out = "";
    let from = 0;
    for (let at = chunk.indexOf("\n"); at >= 0; at = chunk.indexOf("\n", from)) {
      out += reply(held + chunk.slice(from, at));
      held = "";
      from = at + 1;
    }
    if (!skipping) held += chunk.slice(from);
    if (held.length > options.maxLine) {
      held = "";
      skipping = true;
    }
    if (out !== "" && !output.write(out)) await new Promise((resolve) => output.once("drain", resolve));
  }
  if (held !== "" || skipping) output.write(reply(held));
}
