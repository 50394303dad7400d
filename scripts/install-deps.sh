#!/usr/bin/env bash
# install-deps.sh SET... - installs what is missing of the sets npm, lab, etcd, test, browser, nightly and tempest. Silent when nothing is.
# On a machine where it cannot (no rights, not Debian) it says in one line what is missing and how to get it, and fails.
source "$(dirname "$0")/lib.sh"

# command, or path of a file=Debian package, by set
lab="ovs-vswitchd=openvswitch-switch ip=iproute2 ping=iputils-ping ethtool=ethtool udhcpc=udhcpc dhclient=isc-dhcp-client
  tcpdump=tcpdump arping=iputils-arping sysctl=procps"
test="dig=bind9-dnsutils dnsmasq=dnsmasq-base openstack=python3-openstackclient keystone-manage=keystone uwsgi_python3=uwsgi-plugin-python3 curl=curl nft=nftables python3=python3
  neutron=python3-neutronclient bird=bird2 promtool=prometheus faketime=faketime iperf3=iperf3 keepalived=keepalived /lib/systemd/systemd=systemd
  dhcpcd=dhcpcd-base dhcrelay=isc-dhcp-relay cloud-init=cloud-init"
etcd="etcd=etcd-server"
browser="chromium=chromium"
nightly="go=golang-go /usr/share/gocode/src/github.com/gophercloud/gophercloud=golang-github-gophercloud-gophercloud-dev"
tempest="tempest=python3-tempest /usr/lib/python3/dist-packages/neutron_tempest_plugin=neutron-tempest-plugin"

npm_packages() {
  local version sum stamp=node_modules/.axion-lock hidden=node_modules/.package-lock.json
  version=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  [ "$version" -ge 20 ] || die "Node.js 20 or newer is needed; install it from nodejs.org or your distribution"
  sum=$(cksum <package-lock.json)
  if [ -f "$hidden" ] && { [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] || [ ! package-lock.json -nt "$hidden" ]; }; then return; fi
  say "installing npm packages ..."
  # A machine that finds no names has npm wait for each of some hundred packages: hours, without a word. One question tells.
  local answers=(--prefer-offline) said status=0
  said=$(mktemp)
  within timeout 60 npm view commander version >"$said" 2>&1 || status=$?
  if [ $status = 124 ] || { [ $status != 0 ] && grep -qE "EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT" "$said"; }; then
    answers=(--offline)
    say "the npm registry does not answer within a minute: what npm has stored is used"
  fi
  rm -f "$said"
  # dev: the compiler is among them, whatever NODE_ENV says
  within npm ci --include=dev --no-audit --no-fund --loglevel=error "${answers[@]}" >&2 ||
    die "npm packages could not be installed; see above; when this machine reaches the registry (npm ping): npm ci"
  printf '%s\n' "$sum" >"$stamp"
}

system_packages() {
  local pair packages="" commands="" debian=no
  for pair in "$@"; do
    case $pair in
    /*) [ -e "${pair%%=*}" ] && continue ;;
    *) command -v "${pair%%=*}" >/dev/null && continue ;;
    esac
    commands="$commands ${pair%%=*}"
    packages="$packages ${pair#*=}"
  done
  commands=${commands# } packages=${packages# }
  [ -n "$packages" ] || return 0
  if [ -r /etc/os-release ] && (. /etc/os-release && case " $ID ${ID_LIKE:-} " in *" debian "*) true ;; *) false ;; esac); then debian=yes; fi
  if [ $debian = no ] || ! command -v apt-get >/dev/null; then
    die "missing here: $commands; install them with this system's package manager (Debian's packages: $packages)"
  fi
  may_root || die "missing here: $commands; install them with: sudo apt-get install $packages"
  say "installing $packages ..."
  apt "$packages" || die "missing here: $commands; they could not be installed (see above); try: sudo apt-get update && sudo apt-get install $packages"
}

may_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# It would take this machine for one of a cloud at its next start.
keep_off_cloud_init() {
  root mkdir -p /etc/cloud && root touch /etc/cloud/cloud-init.disabled
}

# The lab starts its own switches: a service that installing would start is not wanted, and one that was there before
# is not touched.
apt() {
  local log policy=/usr/sbin/policy-rc.d ours=no status=0
  log=$(mktemp)
  if [ ! -e $policy ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | root tee $policy >/dev/null
    root chmod 755 $policy
    trap 'root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  case " $1 " in *" cloud-init "*) keep_off_cloud_init ;; esac
  # shellcheck disable=SC2086
  install_now $1 >"$log" 2>&1 || { root apt-get update -q >>"$log" 2>&1 && install_now $1 >>"$log" 2>&1; } || status=$?
  if [ $ours = yes ]; then
    root rm -f $policy
    trap - EXIT
  fi
  [ $status = 0 ] || tail -n 5 "$log" >&2
  rm -f "$log"
  if [ $status = 0 ]; then case " $1 " in *" openvswitch-switch "*) say "openvswitch-switch is installed; its own service was not started" ;; esac; fi
  return $status
}

install_now() {
  root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
}

for set in "$@"; do
  # shellcheck disable=SC2086
  case $set in
  npm) npm_packages ;;
  lab)
    [ "$(uname -s)" = Linux ] || die "the lab needs Linux with network namespaces and Open vSwitch; this is $(uname -s)"
    system_packages $lab
    may_root || die "the lab makes network namespaces and needs root; run it as root or allow sudo without a password" ;;
  etcd) system_packages $etcd ;;
  test) system_packages $test $etcd ;;
  browser) system_packages $browser ;;
  nightly) system_packages $nightly ;;
  tempest) system_packages $tempest ;;
  *) die "install-deps.sh: no such set: $set (npm, lab, etcd, test, browser, nightly, tempest)" ;;
  esac
done
