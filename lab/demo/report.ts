// What the demo says while it runs: a line for each step with the time since the start, a line for each check with its
// figure, and what is awaited whenever that takes long.

import { CommandError } from "../exec.ts";

const SAY_WHAT_IS_AWAITED_MS = 3000;

/** What a check found. */
export interface Outcome {
  readonly held: boolean;
  /** The figure behind the verdict, such as "72 of 72 answered". */
  readonly figure: string;
  readonly expected?: string;
  readonly seen?: string;
}

/** Something is not as it must be for the demo to go on. */
export class Surprise extends Error {
  readonly expected: string;
  readonly seen: string;

  constructor(expected: string, seen: string) {
    super(`expected ${expected}, seen: ${seen}`);
    this.name = "Surprise";
    this.expected = expected;
    this.seen = seen;
  }
}

export class Report {
  held = 0;
  readonly failures: string[] = [];
  /** The demo is ending: nothing new begins, and what was under way fails for no reason of its own and is not told. */
  ending = false;
  readonly #began = performance.now();
  readonly #colour = process.stdout.isTTY && !process.env.NO_COLOR;

  get seconds(): number {
    return (performance.now() - this.#began) / 1000;
  }

  line(text = ""): void {
    if (!this.ending) process.stdout.write(text + "\n");
  }

  heading(text: string): void {
    this.line(`\n${this.#paint("1", text)}`);
  }

  /** Runs a step and tells when it is done; `waiting` says what it waits for, should that take long. */
  async step<T>(what: string, body: (waiting: (awaited: string) => void) => Promise<T>): Promise<T> {
    const result = await this.#saying(what, body);
    this.line(`${this.#time()}  ${what}`);
    return result;
  }

  /** Runs a check, and says what it found. It never throws: what it throws is what was seen, and nothing was found. */
  async check<O extends Outcome>(name: string, body: (waiting: (awaited: string) => void) => Promise<O>): Promise<O | undefined> {
    let found: O | undefined;
    let outcome: Outcome;
    try {
      outcome = found = await this.#saying(name, body);
    } catch (error) {
      outcome = error instanceof Surprise
        ? { held: false, figure: "", expected: error.expected, seen: error.seen }
        : { held: false, figure: "", seen: messageOf(error) };
    }
    if (outcome.held) this.held++;
    else this.failures.push(name);
    this.line(`${this.#time()}  ${this.#mark(outcome.held)} ${name}${outcome.figure === "" ? "" : `: ${outcome.figure}`}`);
    if (!outcome.held) {
      if (outcome.expected !== undefined) this.line(`            expected: ${outcome.expected}`);
      if (outcome.seen !== undefined) this.line(`            seen:     ${outcome.seen}`);
    }
    return found;
  }

  async #saying<T>(what: string, body: (waiting: (awaited: string) => void) => Promise<T>): Promise<T> {
    if (this.ending) throw new Error("the demo is ending");
    let awaited = what;
    const timer = setInterval(() => this.line(`${this.#time()}  ... waiting: ${awaited}`), SAY_WHAT_IS_AWAITED_MS);
    try {
      return await body((text) => (awaited = text));
    } finally {
      clearInterval(timer);
    }
  }

  #mark(held: boolean): string {
    if (!this.#colour) return held ? "ok    " : "FAILED";
    return held ? this.#paint("32", "✓") : this.#paint("31", "✗");
  }

  #paint(code: string, text: string): string {
    return this.#colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  }

  #time(): string {
    return `${this.seconds.toFixed(1).padStart(6)} s`;
  }
}

export function messageOf(error: unknown): string {
  if (error instanceof CommandError) return error.message;
  return error instanceof Error ? error.message : String(error);
}
