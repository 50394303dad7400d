// Programs that run inside a namespace, as text: a namespace is entered by a process of its own, and the lab runs both
// from source (tests) and from dist (demo), so its helpers are written into the lab's directory when it is made.

/** Node, CommonJS: `node inside.cjs MODE ARGS`. Ends when its standard input does, so it never outlives the lab. */
export const INSIDE_CJS = String.raw`
"use strict";
const net = require("node:net"), dgram = require("node:dgram"), crypto = require("node:crypto");
const [mode, ...args] = process.argv.slice(2);
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const lines = (onLine) => {
  let rest = "";
  process.stdin.setEncoding("utf8").on("data", (chunk) => {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop();
    parts.forEach(onLine);
  });
};
process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();
const modes = {
  // Lines "PORT PATH" on stdin: a unix socket at PATH leads to 127.0.0.1:PORT of this namespace.
  relay() {
    lines((line) => {
      const [port, path] = line.split(" ");
      const server = net.createServer({ allowHalfOpen: true }, (here) => {
        const there = net.connect({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
        here.on("error", () => there.destroy()).pipe(there);
        there.on("error", () => here.destroy()).pipe(here);
        here.on("close", () => there.destroy());
        there.on("close", () => here.destroySoon());
      });
      server.listen(path, () => say({ listening: path }));
    });
  },
  // TCP and UDP echo on one port, both address families.
  echo(port) {
    const server = net.createServer((socket) => socket.on("error", () => undefined).pipe(socket));
    server.listen(Number(port), "::", () => {
      const udp = dgram.createSocket("udp6");
      udp.on("message", (data, from) => udp.send(data, from.port, from.address));
      udp.bind(Number(port), "::", () => say({ listening: Number(port) }));
    });
  },
  // One TCP connection held open: a line on stdin is sent, what returns is printed.
  hold(ip, port) {
    const socket = net.connect(Number(port), ip, () => say({ connected: true }));
    socket.on("error", (error) => { say({ error: error.code }); process.exit(1); });
    socket.on("close", () => { say({ closed: true }); process.exit(0); });
    let rest = "";
    socket.setEncoding("utf8").on("data", (chunk) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop();
      for (const part of parts) say({ echo: part });
    });
    lines((line) => socket.write(line + "\n"));
  },
  // One UDP datagram to an echo port; prints whether it came back.
  udp(ip, port, timeoutMs, bytes) {
    const socket = dgram.createSocket(ip.includes(":") ? "udp6" : "udp4");
    const end = (answered) => { say({ answered }); process.exit(0); };
    socket.on("message", () => end(true)).on("error", () => end(false));
    socket.send("axion".padEnd(Number(bytes), "."), Number(port), ip);
    setTimeout(end, Number(timeoutMs), false);
  },
  // Streams BYTES pseudo-random bytes (AES-CTR over zeros, so it is fast and never repeats).
  send(ip, port, bytes) {
    const cipher = crypto.createCipheriv("aes-128-ctr", crypto.randomBytes(16), Buffer.alloc(16));
    const hash = crypto.createHash("sha256"), zeros = Buffer.alloc(65536), start = Date.now();
    let left = Number(bytes);
    const socket = net.connect(Number(port), ip);
    const push = () => {
      while (left > 0) {
        const block = cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
        left -= block.length;
        hash.update(block);
        if (!socket.write(block)) return socket.once("drain", push);
      }
      socket.end();
    };
    socket.on("connect", push).on("error", (error) => { say({ error: error.code }); process.exit(1); });
    socket.on("close", () => { say({ bytes: Number(bytes) - left, sha256: hash.digest("hex"), ms: Date.now() - start }); process.exit(0); }).resume();
  },
  receive(port) {
    const server = net.createServer((socket) => {
      const hash = crypto.createHash("sha256"), start = Date.now();
      let bytes = 0;
      server.close();
      socket.on("data", (data) => { bytes += data.length; hash.update(data); }).on("error", () => undefined);
      socket.on("close", () => { say({ bytes, sha256: hash.digest("hex"), ms: Date.now() - start }); process.exit(0); });
    });
    server.listen(Number(port), "::", () => say({ listening: Number(port) }));
  },
  // Sends one buffer over and over for MS milliseconds: as fast as the path takes it, without work of its own.
  pump(ip, port, ms) {
    const block = Buffer.alloc(262144, "axion");
    const socket = net.connect(Number(port), ip);
    const end = Date.now() + Number(ms);
    let blocks = 0;
    const push = () => {
      for (; Date.now() < end; blocks++) if (!socket.write(block)) return socket.once("drain", push);
      socket.end();
    };
    socket.on("connect", push).on("error", (error) => { say({ error: error.code }); process.exit(1); });
    socket.on("close", () => { say({ pumped: blocks * block.length }); process.exit(0); }).resume();
  },
  // Counts the bytes of one connection, and the time from the first to the last.
  sink(port) {
    const server = net.createServer((socket) => {
      let bytes = 0, first = 0, last = 0;
      server.close();
      socket.on("data", (data) => { last = performance.now(); first ||= last; bytes += data.length; }).on("error", () => undefined);
      socket.on("close", () => { say({ bytes, ms: last - first }); process.exit(0); });
    });
    server.listen(Number(port), "::", () => say({ listening: Number(port) }));
  },
  // COUNT TCP connections one after the other, each from a port of its own, to an echo port; prints how many opened.
  async knock(ip, port, count) {
    let opened = 0;
    for (let i = 0; i < Number(count); i++) {
      opened += await new Promise((resolve) => {
        const socket = net.connect(Number(port), ip, () => socket.end());
        socket.on("error", () => resolve(0)).on("close", (failed) => resolve(failed ? 0 : 1)).resume();
      });
    }
    say({ opened });
    process.exit(0);
  },
};
modes[mode](...args);
`;

/**
 * The event script of udhcpc: configures the interface from the lease and leaves what it was told in $AXION_LEASE.
 * Option 121 replaces option 3 where both are given (RFC 3442). Never touches /etc/resolv.conf.
 */
export const UDHCPC_SH = String.raw`#!/bin/sh
env > "$AXION_LEASE.$1"
case "$1" in
deconfig)
  ip -4 addr flush dev "$interface"
  ip link set "$interface" up ;;
bound|renew)
  [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
  ip -4 addr replace "$ip/$mask" dev "$interface"
  if [ -n "$staticroutes" ]; then
    set -- $staticroutes
    while [ $# -ge 2 ]; do
      if [ "$2" = 0.0.0.0 ]; then ip -4 route replace "$1" dev "$interface"
      else ip -4 route replace "$1" via "$2" dev "$interface" onlink; fi
      shift 2
    done
  else
    for gateway in $router; do
      ip -4 route replace default via "$gateway" dev "$interface" onlink
      break
    done
  fi ;;
esac
exit 0
`;

/** The same for ISC dhclient, whose variables carry a new_ prefix and whose option 121 is a list of octets. */
export const DHCLIENT_SH = String.raw`#!/bin/sh
env > "$AXION_LEASE.$reason"
case "$reason" in
PREINIT|PREINIT6) ip link set "$interface" up ;;
BOUND|RENEW|REBIND|REBOOT)
  [ -n "$new_interface_mtu" ] && ip link set "$interface" mtu "$new_interface_mtu"
  ip -4 addr replace "$new_ip_address/$new_subnet_mask" dev "$interface"
  if [ -n "$new_classless_routes" ]; then
    set -- $new_classless_routes
    while [ $# -ge 5 ]; do
      length=$1; shift
      case $(( (length + 7) / 8 )) in
      0) to=0.0.0.0 ;;
      1) to=$1.0.0.0; shift ;;
      2) to=$1.$2.0.0; shift 2 ;;
      3) to=$1.$2.$3.0; shift 3 ;;
      4) to=$1.$2.$3.$4; shift 4 ;;
      esac
      via=$1.$2.$3.$4; shift 4
      if [ "$via" = 0.0.0.0 ]; then ip -4 route replace "$to/$length" dev "$interface"
      else ip -4 route replace "$to/$length" via "$via" dev "$interface" onlink; fi
    done
  else
    for gateway in $new_routers; do
      ip -4 route replace default via "$gateway" dev "$interface" onlink
      break
    done
  fi ;;
BOUND6|RENEW6|REBIND6)
  [ -n "$new_ip6_address" ] && ip -6 addr replace "$new_ip6_address/$new_ip6_prefixlen" dev "$interface" ;;
esac
exit 0
`;

export const DHCLIENT_CONF = `
option classless-routes code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, classless-routes, routers, domain-name, domain-name-servers, domain-search,
  host-name, interface-mtu, ntp-servers, dhcp6.name-servers, dhcp6.domain-search;
timeout 10;
retry 1;
`;

/**
 * \`sh -c REAP_SH reap RUN DIR [wait]\`: removes all that run left: processes of its namespaces, those that run on its
 * directory, the namespaces (and with them every link), the directory. With "wait" it first waits for the
 * end of standard input, that is for the death of the process that made the lab, however it died.
 */
export const REAP_SH = String.raw`
run=$1 dir=$2
[ "$3" = wait ] && cat >/dev/null
killed=
end() { kill -9 "$1" 2>/dev/null && killed="$killed $1"; }
# Whoever runs on our directory, which nobody else has: daemons leave their session, and one that has just begun has no pid file yet.
ours() {
  [ -n "$dir" ] || return 0
  for file in $(grep -lsF "$dir/" /proc/[0-9]*/cmdline); do
    grep -qsF "$dir/" "$file" && end "$(echo "$file" | cut -d/ -f3)"
  done
  return 0
}
# A zombie whose threads are still ending has its files open.
ended() {
  [ "$(ls "/proc/$1/task" 2>/dev/null | wc -l)" -le 1 ] || return 1
  ! grep -qs '^State:.[^XZ]' "/proc/$1/status"
}
for pass in 1 2; do
  for file in /run/netns/"$run"-*; do
    [ -e "$file" ] || continue
    ns=$(basename "$file")
    for pid in $(ip netns pids "$ns" 2>/dev/null); do end "$pid"; done
  done
  ours
done
n=0
for pid in $killed; do
  until ended "$pid" || [ $n -ge 100 ]; do sleep 0.05; n=$((n + 1)); done
done
for file in /run/netns/"$run"-*; do
  [ -e "$file" ] && ip netns del "$(basename "$file")" 2>/dev/null
done
rm -rf /etc/netns/"$run"-*
rmdir /etc/netns 2>/dev/null
ours
if [ -n "$dir" ]; then rm -rf "$dir"; [ -e "$dir" ] && { sleep 0.2; rm -rf "$dir"; }; fi
exit 0
`;
