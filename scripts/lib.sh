# Shared by the scripts beside it; sourced, with the repository as the working directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf 'axion: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Runs a command that ends with us: npm hands a signal on to this shell alone. Not for what asks on the terminal.
within() {
  local status=0
  "$@" </dev/null & local child=$!
  # shellcheck disable=SC2064
  trap "kill $child 2>/dev/null; wait $child 2>/dev/null; trap - TERM; kill -s TERM \$\$" TERM INT HUP
  wait "$child" || status=$?
  trap - TERM INT HUP
  return "$status"
}

# Runs a command; says what it is when it takes longer than two seconds.
slowly() {
  local what=$1 status=0
  shift
  # read, not sleep: killing it leaves no child behind that would hold our output open
  (read -rt 2 <> <(:) || { kill -0 $$ 2>/dev/null && say "$what ..."; }) & local sayer=$!
  "$@" || status=$?
  kill "$sayer" 2>/dev/null || true
  wait "$sayer" 2>/dev/null || true
  return "$status"
}

# Runs a command with the rights that namespaces need (install-deps.sh lab has checked that we may).
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n env "PATH=$PATH" "HOME=$HOME" "AXION_NIGHTLY=${AXION_NIGHTLY:-}" "$@"; fi
}

# What of this machine is not ours: tests that change it have broken something of somebody's.
machine_state() {
  cksum /etc/resolv.conf /etc/hosts 2>/dev/null || true
  echo "host name $(uname -n)"
  ip rule show 2>/dev/null | sed "s/^/rule /" || true
  as_root nft --stateless list ruleset 2>/dev/null | sed -E "s/ expires [0-9a-z]+//g; s/^/nft /" || true
}

deps() { within bash scripts/install-deps.sh "$@"; }

# What is started now ends when the npm ends that started us: npm hands on SIGTERM and SIGINT, but dies of others.
ends_with_npm() {
  case "${npm_lifecycle_event:-}" in start | demo) export AXION_STARTED_BY=$PPID ;; esac
}

# Takes away what was compiled of folders that are gone: the compiler leaves it, and an app that was removed would go on running.
forget_removed() {
  local sources=$1 compiled=$2 folder
  for folder in "$compiled"/*/; do
    [ -d "$folder" ] || continue
    [ -e "$sources/$(basename "$folder")/index.ts" ] || rm -rf "$folder"
  done
}

# Incremental, and silent unless something is wrong.
build() {
  # Types are checked by npm test: whoever starts it waits for less.
  slowly "building" within node node_modules/typescript-native/bin/tsc -b --noCheck || die "the build failed; see above"
  forget_removed apps dist/apps
  build_console
}

# The console's files, when what they are made of changed.
build_console() {
  local made=dist/console/index.html.br
  if [ -e "$made" ] && [ -z "$(find console/src console/*.* package-lock.json -newer "$made" -print -quit)" ]; then return; fi
  slowly "building the console" within node node_modules/vite/bin/vite.js build --logLevel warn console || die "the console could not be built; see above"
}

# What node is run with. Most of what a compile makes lives on: a roomy young generation saves copying it. Most calls of the API are few
# and far between, and their code is long: compiled plainly at its first run, not after hundreds, it takes a tenth less time per change.
NODE_FLAGS=(--enable-source-maps --max-semi-space-size=64 --always-sparkplug)
# What runs for a moment only is not worth optimising: at a start that takes longer than it saves. Functions are optimised when they have
# run twice as long as otherwise; with four times as long, calls of the API take more until they are. The first flag is Node 20's, the
# second that of later versions.
TIERING_FLAGS=(--interrupt-budget=132000 --invocation-count-for-turbofan=6000)

# Becomes node, with those of the flags that it takes: one that it does not know would end the start.
run_node() {
  local flag flags=("${NODE_FLAGS[@]}")
  for flag in "${TIERING_FLAGS[@]}"; do
    if node "$flag" --version >/dev/null 2>&1; then flags+=("$flag"); fi
  done
  exec node "${flags[@]}" "$@"
}
