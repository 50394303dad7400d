#!/usr/bin/env bash
# Benchmarks: bench.sh [name] [flags] [--json]
source "$(dirname "$0")/lib.sh"
deps npm
build
run_node --max-old-space-size=12288 dist/bench/main.js "$@"
