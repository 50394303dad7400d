#!/usr/bin/env bash
# Every test, unit to real switch: test.sh [--nightly] [vitest's arguments]. Types and lint count as one test each.
# The last line is "N passed, N failed"; fails when something did.
source "$(dirname "$0")/lib.sh"
args=()
for arg in "$@"; do
  if [ "$arg" = --nightly ]; then export AXION_NIGHTLY=1; else args+=("$arg"); fi
done
deps npm lab test

report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
failed=()
# Side by side: each is about one core's work.
node node_modules/eslint/bin/eslint.js . >"$report/lint" 2>&1 & lint=$!
slowly "checking types and lint" node node_modules/typescript/bin/tsc -b || failed+=(types)
slowly "checking lint" wait "$lint" || failed+=(lint)
cat "$report/lint"
status=0
as_root node node_modules/vitest/vitest.mjs run --reporter=default --reporter=json --outputFile.json="$report/tests.json" "${args[@]}" || status=$?
if [ "$(id -u)" != 0 ]; then # what the tests wrote as root belongs to whoever runs them
  sudo -n chown -R --from=root "$(id -u):$(id -g)" . "$report" || true
fi
[ ${#failed[@]} = 0 ] || say "failed: ${failed[*]}"
node - "$report/tests.json" "$status" "${#failed[@]}" <<'JS'
const [file, status, checksFailed] = process.argv.slice(2);
let passed = 2 - Number(checksFailed), failed = Number(checksFailed), testsFailed = 0;
try {
  const report = JSON.parse(require("node:fs").readFileSync(file, "utf8"));
  passed += report.numPassedTests;
  testsFailed = report.numFailedTests;
  // a file that could not be loaded has no tests to fail
  testsFailed += report.testResults.filter((result) => result.status === "failed" && result.assertionResults.every((test) => test.status !== "failed")).length;
} catch (error) {
  console.error(`axion: no test report: ${error.message}`);
}
if (Number(status) !== 0 && testsFailed === 0) testsFailed = 1; // an error outside of any test
failed += testsFailed;
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
JS
