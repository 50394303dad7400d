#!/usr/bin/env bash
# Benchmarks: bench.sh [name] [flags] [--json]
source "$(dirname "$0")/lib.sh"
deps npm
build
exec node --enable-source-maps dist/bench/main.js "$@"
