#!/usr/bin/env bash
# The controller alone, for production: npm packages, build, run. Flags are the controller's.
source "$(dirname "$0")/lib.sh"
deps npm
build
ends_with_npm
run_node dist/src/main.js "$@"
