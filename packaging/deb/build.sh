#!/usr/bin/env bash
# npm run deb [-- --out DIR] [--archive FILE.tgz] [--compress zstd|xz|none] - a Debian package of the controller with the node that runs this, as Debian's is too
# old. --archive: what npm pack made; without it that is made first. Prints the name of what it made.
# Where it is called from: what is given as a path is seen from there. npm goes to the repository first, and says where it was.
from=$PWD
[ "${npm_lifecycle_event:-}" != deb ] || from=${INIT_CWD:-$PWD}
source "$(dirname "$0")/../../scripts/lib.sh"
here=packaging/deb out=$from archive="" compress=xz
while [ $# -gt 0 ]; do
  case $1 in
  --out | --archive | --compress) [ $# -ge 2 ] || die "$1 needs a value" ;;&
  --out) out=$(cd "$from" && realpath -m -- "$2") ;;
  --archive) archive=$(cd "$from" && realpath -m -- "$2") ;;
  --compress) compress=$2 ;;
  *) die "build.sh: unknown argument $1 (--out, --archive, --compress)" ;;
  esac
  shift 2
done
case $compress in zstd | xz | none) ;; *) die "--compress must be zstd, xz or none, not $compress" ;; esac
command -v dpkg-deb >/dev/null || die "dpkg-deb is needed (Debian's package dpkg)"
[ -d "$out" ] || die "--out: there is no folder $out"
[ -z "$archive" ] || [ -f "$archive" ] || die "--archive: there is no file $archive"

node=$(node -p process.execPath)
# What it is linked with has to be on every Debian: of Debian's own node the most is in libraries of other packages.
foreign=$(ldd "$node" | awk '/=>/ { print $1 }' | grep -vE '^(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)\.so' || true)
[ -z "$foreign" ] || die "$node needs libraries of its own ($(echo "$foreign" | xargs)); run this with a node as nodejs.org gives it"
licence=""
for file in "$(dirname "$node")/../LICENSE" /usr/share/doc/nodejs/LICENSE; do
  if [ -e "$file" ]; then licence=$file; break; fi
done
[ -n "$licence" ] || die "the licence of $node is not beside it; it has to go with it"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "$archive" ]; then
  npm pack --silent --pack-destination "$work" >/dev/null || die "npm pack failed; see above"
  archive=$(echo "$work"/axion-*.tgz)
fi
root=$work/root lib=$work/root/usr/lib/axion
mkdir -p "$lib/node/bin" "$root"/{DEBIAN,usr/bin,usr/lib/systemd/system,usr/share/doc/axion,etc/axion}
tar -xzf "$archive" -C "$lib" --strip-components=1 --no-same-owner
arch=$(node -p process.arch)
# The database is built for many systems; this is for one.
find "$lib"/node_modules/*/prebuilds -mindepth 1 -maxdepth 1 ! -name "linux-$arch" -exec rm -rf {} +
# Of the libraries what runs: not what they are built of, checked with or described by.
find "$lib/node_modules" \( -type f -o -type l \) \( -name '.*' -o -name '*.musl.node' -o -name '*.sh' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.cc' -o -name '*.h' -o -name '*.md' -o -name '*.html' -o -name 'binding.gyp' \) -delete
rm -rf "$lib"/node_modules/classic-level/deps
find "$lib/node_modules" -type d \( -name '.*' -o -empty \) -prune -exec rm -rf {} +
# Pages for readers are where Debian has them; links between them stay as they are.
mv "$lib"/docs "$lib"/README.md "$lib"/ARCHITECTURE.md "$root/usr/share/doc/axion/"
mv "$lib"/CHANGELOG.md "$root/usr/share/doc/axion/"
mv "$lib"/packaging/prometheus "$lib"/packaging/grafana "$root/usr/share/doc/axion/"
{
  printf 'Axion\n\n'; cat "$lib/LICENSE"
  printf '\n\nNode.js, in /usr/lib/axion/node, and what it contains\n\n'; cat "$licence"
  for file in "$lib"/node_modules/*/LICENSE* "$lib"/node_modules/@*/*/LICENSE*; do
    if [ -e "$file" ]; then printf '\n\n%s\n\n' "$(dirname "${file#"$lib"/node_modules/}")"; cat "$file"; fi
  done
} >"$root/usr/share/doc/axion/copyright"
cp "$node" "$lib/node/bin/node"
strip --strip-unneeded "$lib/node/bin/node" 2>/dev/null || true # a smaller package, where there is the tool
cp packaging/systemd/axion.env "$root/usr/share/doc/axion/"
cp packaging/axion.yaml "$root/etc/axion/axion.yaml"
sed -e 's#/usr/bin/node#/usr/lib/axion/node/bin/node#; s#file:///opt/axion/docs/#file:///usr/share/doc/axion/docs/#; s#/opt/axion#/usr/lib/axion#' packaging/systemd/axion.service >"$root/usr/lib/systemd/system/axion.service"
rm -rf "$lib/packaging" "$lib/LICENSE"
cat >"$root/usr/bin/axion" <<'SH'
#!/bin/sh
exec /usr/lib/axion/node/bin/node /usr/lib/axion/bin/axion.js "$@"
SH
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod 644 {} +
chmod 755 "$root/usr/bin/axion" "$lib/node/bin/node"

version=$(node -p 'require("./package.json").version')
debian=$(dpkg --print-architecture)
maintainer="The Axion maintainers <maintainers@axion.example>"
printf 'axion (%s) unstable; urgency=medium\n\n  * /usr/share/doc/axion/CHANGELOG.md says what is new.\n\n -- %s  %s\n' "$version" "$maintainer" "$(date -Rud "@${SOURCE_DATE_EPOCH:-$(stat -c %Y package.json)}")" | gzip -9n >"$root/usr/share/doc/axion/changelog.gz"
chmod 644 "$root/usr/share/doc/axion/changelog.gz"
cat >"$root/DEBIAN/control" <<CONTROL
Package: axion
Version: $version
Architecture: $debian
Maintainer: $maintainer
Section: net
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Depends: libc6 (>= 2.28), libstdc++6, libgcc-s1, passwd
Recommends: openssl
Suggests: prometheus
Description: SDN controller for Open vSwitch
 Serves the OpenStack Quantum (Neutron) API, and programs Open vSwitch on
 hypervisors by OpenFlow 1.3 and OVSDB. With Node.js $(node -p 'process.versions.node') of its own.
CONTROL
echo /etc/axion/axion.yaml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
made=$out/axion_${version}_$debian.deb
level=() # the strongest of zstd takes minutes for what xz does in one
[ "$compress" != zstd ] || level=(-z3)
dpkg-deb --root-owner-group "-Z$compress" "${level[@]}" --build "$root" "$made" >/dev/null
echo "$made"
