#!/usr/bin/env bash
# Tests, unit to real switch: test.sh [--long | --nightly] [vitest's arguments]. Alone it runs what is not tagged "long", --long what is, --nightly
# all in its longest form. Types, the console's, lint and that this machine is as it was count as one test each; --long has the last alone.
# The last lines name what was skipped and what passed only when it was run again; the very last is "N passed, N failed". Fails when something did.
source "$(dirname "$0")/lib.sh"
# More files than this that fail are no matter of a late switch.
AGAIN_MAX=8
args=() filter=() stage=first
for arg in "$@"; do
  case "$arg" in
    --long) stage=second ;;
    --nightly) stage=all; export AXION_NIGHTLY=1 ;;
    *) args+=("$arg") ;;
  esac
done
sets=(npm lab test browser)
if [ "${AXION_NIGHTLY:-}" = 1 ]; then sets+=(nightly); fi
deps "${sets[@]}"
case "$stage" in
  first) filter=("--tagsFilter=!long") ;;
  second) # the other files are not even loaded
    if [ ${#args[@]} = 0 ]; then mapfile -t args < <(grep -rlE --include="*.test.ts" --exclude-dir={node_modules,dist} "@module-tag long|tags: \"long\"" protocol src apps lab bench test); fi
    filter=(--tagsFilter=long) ;;
esac

report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
checks=1 failed=() lint=
machine_state >"$report/machine"
if [ "$stage" = second ]; then
  build
else
  checks=4
  # Lint is some minutes of one core, beside the types and the first tests, which are processes that wait for nobody.
  node node_modules/eslint/bin/eslint.js . >"$report/lint" 2>&1 & lint=$!
  slowly "checking types" node node_modules/typescript-native/bin/tsc -b || failed+=(types)
  build_console
  slowly "checking types of the console" npm run --silent check -w console || failed+=("types of the console")
fi
run() { # <report> [vitest's arguments]: vitest, with a report in JSON as well
  as_root node node_modules/vitest/vitest.mjs run --reporter=default --reporter=./dist/scripts/run-reporter.js --outputFile.json="$1" "${@:2}"
}
status=0 again=()
run "$report/tests.json" "${filter[@]}" "${args[@]}" || status=$?
if [ -n "$lint" ]; then
  slowly "checking lint" wait "$lint" || failed+=(lint)
  cat "$report/lint"
fi
# Real switches on a busy machine are late at times. What failed is run again, alone; the summary names what passed then: it is looked into.
mapfile -t files < <(node dist/scripts/test-report.js failed-files "$report/tests.json")
if [ ${#files[@]} -gt 0 ] && [ ${#files[@]} -le "$AGAIN_MAX" ]; then
  say "${#files[@]} files failed; running them again, alone ..."
  statusAgain=0
  run "$report/again.json" --no-file-parallelism "${filter[@]}" "${files[@]}" || statusAgain=$?
  again=("$report/again.json" "$statusAgain")
fi
if [ "$(id -u)" != 0 ]; then # what the tests wrote as root belongs to whoever runs them
  sudo -n chown -R --from=root "$(id -u):$(id -g)" . "$report" || true
fi
machine_state | diff "$report/machine" - >&2 || failed+=("this machine is as it was: see the lines above")
[ ${#failed[@]} = 0 ] || say "failed: ${failed[*]}"
node dist/scripts/test-report.js summary "$stage" "$checks" "${#failed[@]}" "$status" "$report/tests.json" "${again[@]}"
