#!/usr/bin/env bash
# The lab with real switches, a controller and two tenants. --check ends when every check is made.
source "$(dirname "$0")/lib.sh"
sets=(npm lab)
for arg in "$@"; do if [ "$arg" = --cluster ]; then sets+=(etcd); fi; done
deps "${sets[@]}"
build
ends_with_npm
if [ "$(id -u)" = 0 ]; then exec node --enable-source-maps dist/lab/demo.js "$@"; fi
exec sudo -n env "PATH=$PATH" "HOME=$HOME" "AXION_STARTED_BY=${AXION_STARTED_BY:-}" node --enable-source-maps dist/lab/demo.js "$@"
