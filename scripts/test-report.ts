// The last lines of `npm test`: what was skipped, what passed only when it was run again, and how many passed and failed.
//   test-report.js failed-files <report>                   the files to run again, a line each; none where all passed
//   test-report.js summary <checks failed> <status> <report> [<report of the second run> <its status>]
import { readFileSync } from "node:fs";
import { whySkipped } from "./skips.ts";

/** Checks that are no tests of vitest: types and lint. */
const CHECKS = 2;

interface TestFile {
  readonly name: string;
  readonly status: string;
  /** Why it could not be loaded, or what its hooks threw. */
  readonly message?: string;
  readonly assertionResults: readonly { readonly status: string; readonly fullName: string; readonly failureMessages?: readonly string[] }[];
}

/** What vitest's JSON reporter wrote: files, and the tests of each. undefined: no report. */
function read(report: string): readonly TestFile[] | undefined {
  try {
    return (JSON.parse(readFileSync(report, "utf8")) as { testResults: TestFile[] }).testResults;
  } catch (error) {
    console.error(`axion: no test report: ${(error as Error).message}`);
    return undefined;
  }
}
const filesOf = (report: string): readonly TestFile[] => read(report) ?? [];
const failedTests = (file: TestFile): TestFile["assertionResults"] => file.assertionResults.filter((test) => test.status === "failed");
const isFailed = (file: TestFile): boolean => file.status === "failed" || failedTests(file).length > 0;
/** A file that could not be loaded, or whose hooks failed, has no failed test: it counts as one. */
const failures = (file: TestFile): number => (isFailed(file) ? Math.max(1, failedTests(file).length) : 0);
/** A line for each of a file's failed tests, or one for the file. */
function tell(file: TestFile, what: string): void {
  const why = (text = ""): string => text.split("\n").filter((line) => line.trim() !== "").slice(0, 2).join(" ").slice(0, 400);
  const lines = failedTests(file).map(({ fullName, failureMessages }) => `${fullName}: ${why(failureMessages?.[0])}`);
  for (const line of lines.length > 0 ? lines : [`${file.name}: ${why(file.message)}`]) console.log(`axion: ${what}: ${line}`);
}
const count = (files: readonly TestFile[], status: string): number => files.reduce((sum, file) => sum + file.assertionResults.filter((test) => test.status === status).length, 0);

function summary(checksFailed: number, status: number, report: string, again?: string, statusAgain?: number): void {
  const told = read(report);
  const first = told ?? [];
  const second = again === undefined ? [] : filesOf(again);
  const repeated = new Map(second.map((file) => [file.name, file]));
  const files = [...first.filter((file) => !repeated.has(file.name)), ...second];
  for (const file of first) {
    const then = repeated.get(file.name);
    if (then === undefined || isFailed(then)) continue;
    tell(file, "failed, and passed when its file was run again");
  }
  for (const file of files.filter(isFailed)) tell(file, "failed");
  const skipped = files.flatMap((file) => file.assertionResults.filter((test) => test.status === "skipped" || test.status === "pending").map((test) => ({ name: test.fullName, why: whySkipped(file.name, test.fullName) })));
  if (skipped.length > 0) console.log(`axion: ${skipped.length} skipped:`);
  for (const why of new Set(skipped.map((test) => test.why))) {
    const names = skipped.filter((test) => test.why === why).map((test) => test.name);
    console.log(`axion: ${names.length} because: ${why}`);
    for (const name of names) console.log(`  ${name}`);
  }
  let failed = files.reduce((sum, file) => sum + failures(file), 0);
  // An error outside of any test, or no report at all.
  if (failed === 0 && (told === undefined || (statusAgain ?? status) !== 0)) failed = 1;
  failed += checksFailed;
  console.log(`${count(files, "passed") + CHECKS - checksFailed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

const [command, ...rest] = process.argv.slice(2);
if (command === "failed-files") for (const file of filesOf(rest[0]!).filter(isFailed)) console.log(file.name);
if (command === "summary") summary(Number(rest[0]), Number(rest[1]), rest[2]!, rest[3], rest[4] === undefined ? undefined : Number(rest[4]));
