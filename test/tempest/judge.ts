// What the outcomes of tempest's tests mean beside those that are expected: how many passed and failed, and the lines that say so.

/** What became of a test. */
export interface Outcome {
  readonly id: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** The reason of a skip, the trace of a failure. */
  readonly text: string;
}

/** A line of `expected.yaml`: why tests do not pass whose names start so, or that are skipped as they want an extension that is not advertised. */
export interface Known {
  readonly test?: string;
  readonly extension?: string;
  readonly reason: string;
}
export interface Expected {
  readonly skipped: readonly Known[];
  readonly failed: readonly Known[];
}

/** As tempest says it: "qos extension not enabled", or in a list of several. */
const missing = /(?:network extension: (?<one>[^\s,]+) is|(?<other>[^\s,]+) extension) not enabled/gi;

function names({ test, extension }: Known, { id, text }: Outcome): boolean {
  if (extension !== undefined) return [...text.matchAll(missing)].some(({ groups }) => (groups!.one ?? groups!.other)!.toLowerCase() === extension);
  return id === test || id.startsWith(`${test!}.`);
}

/** Tests that failed and that no line names. */
export const unexpected = (outcomes: readonly Outcome[], expected: Expected): readonly Outcome[] =>
  outcomes.filter((one) => one.outcome === "failed" && !expected.failed.some((line) => names(line, one)));

/**
 * A test passes, fails, or is skipped or fails as expected, which is neither. Failures are: a test that failed or was skipped unexpectedly, and
 * a line of the expected ones that no outcome bears out. `whole`: all tests were run, so that such a line can be told.
 */
export function judge(outcomes: readonly Outcome[], expected: Expected, whole: boolean): { readonly passed: number; readonly failed: number; readonly lines: readonly string[] } {
  const unused = new Set([...expected.skipped, ...expected.failed]);
  const known: Record<"skipped" | "failed", string[]> = { skipped: [], failed: [] };
  const failures: string[] = [];
  let passed = 0;
  for (const one of outcomes) {
    const { id, outcome, text } = one;
    if (outcome === "passed") {
      passed++;
      continue;
    }
    const entry = expected[outcome].find((line) => names(line, one));
    if (entry === undefined) failures.push(outcome === "failed" ? `FAILED ${id}\n${text}\n` : `FAILED ${id}: skipped, which is not expected: ${text}`);
    else {
      unused.delete(entry);
      known[outcome].push(`  ${id}: ${entry.reason}`);
    }
  }
  if (outcomes.length === 0) failures.push("FAILED: no test was run");
  if (whole) for (const { test, extension } of unused) failures.push(`FAILED ${test ?? extension!}: expected.yaml names it, and nothing of it was skipped or failed as it says`);
  const lines = [...failures];
  for (const outcome of ["failed", "skipped"] as const) {
    if (known[outcome].length > 0) lines.push(`axion: ${known[outcome].length} ${outcome === "failed" ? "failed as known" : "skipped"}:`, ...known[outcome]);
  }
  lines.push(`${passed} passed, ${failures.length} failed`);
  return { passed, failed: failures.length, lines };
}
