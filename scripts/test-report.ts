// The last lines of `npm test` and of `npm run test:long`: what was skipped, what passed only when it was run again, and how many passed and failed.
//   test-report.js failed-files <report>                   the files to run again, a line each; none where all passed
//   test-report.js summary <stage> <checks> <of them failed> <status> <report> [<report of the second run> <its status>]
// A stage is "first", "second" or "all"; checks are what is tried beside vitest's tests, as types and lint; reports are run-reporter.ts's.
import { readFileSync } from "node:fs";
import { whySkipped } from "./skips.ts";

type Stage = "first" | "second" | "all";
/** What a test of the second stage is tagged with. */
const LONG = "long";
/** As many errors outside of tests are told; all count. */
const ERRORS_TOLD = 20;

interface Test {
  readonly status: string;
  readonly fullName: string;
  readonly failureMessages?: readonly string[];
  readonly tags?: readonly string[];
}
interface TestFile {
  readonly name: string;
  readonly status: string;
  /** Why it could not be loaded, or what its hooks threw. */
  readonly message?: string;
  readonly assertionResults: readonly Test[];
}

interface Report {
  readonly testResults: readonly TestFile[];
  /** Errors outside of any test, a process of vitest's that ended among them. */
  readonly unhandledErrors?: readonly { readonly name?: string; readonly message: string; readonly stack?: string }[];
}

/** undefined: no report. */
function read(report: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(report, "utf8")) as Report;
  } catch (error) {
    console.error(`axion: no test report: ${(error as Error).message}`);
    return undefined;
  }
}
const filesOf = (report: string): readonly TestFile[] => read(report)?.testResults ?? [];
/** "pending" is what had not ended, or not begun, when its process ended. */
const failedTests = (file: TestFile): readonly Test[] => file.assertionResults.filter(({ status }) => status === "failed" || status === "pending");
const isFailed = (file: TestFile): boolean => file.status === "failed" || failedTests(file).length > 0;
/** A file that could not be loaded, or whose hooks failed, has no failed test: it counts as one. */
const failures = (file: TestFile): number => (isFailed(file) ? Math.max(1, failedTests(file).length) : 0);
const brief = (text: string): string => text.split("\n").filter((line) => line.trim() !== "").slice(0, 2).join(" ").slice(0, 400);
/** A line for each of a file's failed tests, or one for the file. */
function tell(file: TestFile, what: string): void {
  const lines = failedTests(file).map(({ fullName, status, failureMessages }) => `${fullName}: ${status === "pending" ? "it did not come to its end" : brief(failureMessages?.[0] ?? "")}`);
  for (const line of lines.length > 0 ? lines : [`${file.name}: ${brief(file.message ?? "")}`]) console.log(`axion: ${what}: ${line}`);
}
const count = (files: readonly TestFile[], status: string): number => files.reduce((sum, file) => sum + file.assertionResults.filter((test) => test.status === status).length, 0);

/** Whether a test that was not run is run by the other stage. */
const isElsewhere = (stage: Stage, { tags = [] }: Test): boolean => stage !== "all" && tags.includes(LONG) === (stage === "first");

function tellSkipped(stage: Stage, files: readonly TestFile[]): void {
  const skipped = files.flatMap((file) => file.assertionResults.filter(({ status }) => status === "skipped").map((test) => ({ file, test })));
  const elsewhere = skipped.filter(({ test }) => isElsewhere(stage, test)).length;
  if (elsewhere > 0) console.log(`axion: ${elsewhere} more ${stage === "first" ? "are long: npm run test:long runs them" : "in these files are not long: npm test runs them"}`);
  const told = skipped.filter(({ test }) => !isElsewhere(stage, test)).map(({ file, test }) => ({ name: test.fullName, why: whySkipped(file.name, test.fullName) }));
  if (told.length > 0) console.log(`axion: ${told.length} skipped:`);
  for (const why of new Set(told.map((test) => test.why))) {
    const names = told.filter((test) => test.why === why).map((test) => test.name);
    console.log(`axion: ${names.length} because: ${why}`);
    for (const name of names) console.log(`  ${name}`);
  }
}

function summary(stage: Stage, checks: number, checksFailed: number, status: number, report: string, again?: string, statusAgain?: number): void {
  const told = read(report);
  const first = told?.testResults ?? [];
  const toldAgain = again === undefined ? undefined : read(again);
  const second = toldAgain?.testResults ?? [];
  const repeated = new Map(second.map((file) => [file.name, file]));
  const files = [...first.filter((file) => !repeated.has(file.name)), ...second];
  for (const file of first) {
    const then = repeated.get(file.name);
    if (then === undefined || isFailed(then)) continue;
    tell(file, "failed, and passed when its file was run again");
  }
  for (const file of files.filter(isFailed)) tell(file, "failed");
  // Whatever is run again: nobody knows which test such an error is of, nor whether it comes again.
  const errors = [...(told?.unhandledErrors ?? []), ...(toldAgain?.unhandledErrors ?? [])];
  for (const { name = "Error", message, stack } of errors.slice(0, ERRORS_TOLD)) console.log(`axion: failed: outside of any test: ${brief(stack ?? `${name}: ${message}`)}`);
  tellSkipped(stage, files);
  let failed = files.reduce((sum, file) => sum + failures(file), errors.length);
  // What vitest ended for is in no report, or there is no report at all.
  if (failed === 0 && (told === undefined || (statusAgain ?? status) !== 0)) failed = 1;
  failed += checksFailed;
  console.log(`${count(files, "passed") + checks - checksFailed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

const [command, ...rest] = process.argv.slice(2);
if (command === "failed-files") for (const file of filesOf(rest[0]!).filter(isFailed)) console.log(file.name);
if (command === "summary") {
  const [stage, checks, checksFailed, status, report, again, statusAgain] = rest;
  summary(stage as Stage, Number(checks), Number(checksFailed), Number(status), report!, again, statusAgain === undefined ? undefined : Number(statusAgain));
}
