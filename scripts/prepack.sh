#!/usr/bin/env bash
# What `npm pack` packs: all that node runs, built, and nothing of what was compiled from files that are gone.
source "$(dirname "$0")/lib.sh"
deps npm
build
find dist/src dist/apps protocol/*/dist -name '*.js' | while read -r compiled; do
  source=${compiled#dist/}
  source=${source/\/dist\//\/src\/}
  [ -e "${source%.js}.ts" ] || rm -f "${compiled%.js}".js "${compiled%.js}".js.map "${compiled%.js}".d.ts
done
