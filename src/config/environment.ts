// Variables of the environment that are meant for Axion and say nothing to it: misspelled, or of another version. A setting that is not
// heard is found out by what it does not do, so the start says so.
import { allFlags, variableOf, type Configurable } from "./flags.ts";

/** Variables of the command `axion`, with what each says. */
export const commandVariables: Readonly<Record<string, string>> = {
  AXION_OPS_URL: "address of the ops listener that the command `axion` asks (`--ops-url`), by default `http://127.0.0.1:9697`",
  AXION_OPS_TOKEN_FILE: "file with the token that the command `axion` bears there (`--ops-token-file`)",
};

/** Variables that are no settings of the controller: of the command `axion`, of what starts the controller, of tests and benchmarks. */
export const otherVariables: readonly string[] = [
  ...Object.keys(commandVariables),
  "AXION_STARTED_BY", "AXION_POISON_SCRATCH",
  "AXION_NIGHTLY", "AXION_SEED", "AXION_FUZZ_SEED", "AXION_SEQUENCE_SEED", "AXION_FIRST_MODE", "AXION_BENCH_AGAINST", "AXION_BENCH_KINDS", "AXION_SCREENSHOTS",
];

export interface UnknownVariable {
  readonly variable: string;
  /** The known one that it resembles most, if any. */
  readonly meant: string | undefined;
}

/** Variables that are told of at most: an environment is somebody else's. */
const TOLD = 20;

/** Variables named AXION_... that nobody here reads, by name; the first 20. */
export function unknownVariables(env: Readonly<Record<string, string | undefined>>, apps: readonly Configurable[]): readonly UnknownVariable[] {
  const known = [...[...allFlags(apps).keys()].map(variableOf), ...otherVariables];
  const unknown = Object.keys(env).filter((name) => name.startsWith("AXION_") && !known.includes(name)).sort();
  return unknown.slice(0, TOLD).map((name) => ({ variable: name.slice(0, 100), meant: nearest(name.slice(0, 100), known) }));
}

/** The one with the fewest letters to change, if that is no more than a third of them. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Infinity;
  for (const one of known) {
    const changes = distance(name, one);
    if (changes < least) [best, least] = [one, changes];
  }
  return least <= Math.ceil((name.length - "AXION_".length) / 3) ? best : undefined;
}

/** Letters that are to be put in, left out, replaced or swapped with the next (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let changes = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) changes = Math.min(changes, before[j - 2]! + 1);
      row.push(changes);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
