#!/usr/bin/env bash
# The controller alone, for production: npm packages, build, run. Flags are the controller's.
source "$(dirname "$0")/lib.sh"
deps npm
build
# Most of what a compile makes lives on: a roomy young generation saves copying it.
exec node --enable-source-maps --max-semi-space-size=64 dist/src/main.js "$@"
