#!/usr/bin/env bash
# Debian's tempest and neutron-tempest-plugin against a controller that asks a real Keystone: test-tempest.sh [parts of names of tests].
# The last lines name each skipped test with its reason; the very last is "N passed, N failed". Fails when something did, or is not as test/tempest/expected.yaml says.
source "$(dirname "$0")/lib.sh"
deps npm test tempest
build
exec node --enable-source-maps dist/test/tempest/main.js "$@"
