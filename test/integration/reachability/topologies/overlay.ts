// Networks in tunnels of one encapsulation, and a way outside by a flat network that the hosts of gateways alone are on.
import type { Kind, Topology } from "../topology.ts";

export const overlay = (kind: Extract<Kind, "geneve" | "vxlan" | "gre">, underlay?: "ipv6"): Topology => ({
  name: underlay === undefined ? kind : `${kind} over IPv6`,
  ...(underlay && { underlay }),
  physnets: { 1: ["ext"], 2: [], 3: [] },
  networks: {
    blue: { kind, cidr: "10.0.0.0/24", cidr6: "fd00:a::/64" },
    green: { kind, cidr: "10.0.1.0/24", cidr6: "fd00:b::/64", mtu: 1300 },
    // Blue's addresses once more, of somebody else.
    red: { kind, cidr: "10.0.0.0/24", cidr6: "fd00:a::/64" },
    // Outside knows the way to it.
    open: { kind, cidr: "10.0.2.0/24", cidr6: "fd00:c::/64" },
    slaac: { kind, cidr: "10.0.4.0/24", cidr6: "fd00:e::/64", mode6: "slaac" },
    out: { kind: "flat", physnet: "ext", cidr: "203.0.113.0/24", cidr6: "2001:db8:1::/64", gateway6: "2001:db8:1::1", external: true, pool: ["203.0.113.10", "203.0.113.99"] },
  },
  routers: {
    r: { nets: ["blue", "green", "slaac"], outside: "out" },
    s: { nets: ["red"], outside: "out" },
    t: { nets: ["open"], outside: "out", snat: false },
  },
  instances: {
    a: { net: "blue", host: 1 },
    near: { net: "blue", host: 1 },
    b: { net: "blue", host: 2 },
    closed: { net: "blue", host: 3, group: "default" },
    d: { net: "blue", host: 3, dhcp: true },
    c: { net: "green", host: 3 },
    g: { net: "green", host: 4 },
    other: { net: "red", host: 1 },
    another: { net: "red", host: 2 },
    o: { net: "open", host: 2 },
    l: { net: "slaac", host: 2, dhcp: true },
  },
  machines: {
    x: { net: "out", ip: "203.0.113.1", ip6: "2001:db8:1::1", forwards: true, routes: { "10.0.2.0/24": "t", "fd00:c::/64": "t", "fd00:a::/64": "r" } },
  },
  floating: {
    fa: { net: "out", to: "a" },
    fb: { net: "out", to: "b" },
    shared: { net: "out", forward: [{ protocol: "tcp", from: 2222, to: "near", port: 22 }, { protocol: "udp", from: 5353, to: "c", port: 53 }] },
  },
  rows: [
    "d: dhcp",
    "l: dhcp slaac",
    "l > a, c: ping tcp udp ping6 tcp6 udp6",
    "a, c > l: ping tcp udp ping6 tcp6 udp6",
    "a, near, b > a, near, b: ping tcp udp",
    "a, near, b > near, b: ping6 tcp6 udp6",
    "a > near, b, d: neighbour",
    "a, b > near, closed: neighbour6",
    "a, b, d > c, g: ping tcp udp",
    "c, g > a, b, d: ping tcp udp",
    "a, c > g, b: ping6 tcp6 udp6",
    "closed > a, c: ping tcp udp ping6 tcp6",
    "a, c, d > closed: not ping tcp udp",
    "a, c > closed: not ping6 tcp6 udp6",
    "other > another: ping tcp udp ping6 tcp6 udp6",
    "a > r.blue, r.green: ping ping6",
    // Who is where the addresses of both tenants are, one knows by who answers.
    "another > other: ping tcp udp neighbour",
    // Out, with the router's address or one's own.
    "near, d, c, g, closed > x: ping tcp udp as r",
    "other, another > x: ping tcp udp as s",
    "a > x: ping tcp udp as fa",
    "b > x: ping tcp udp as fb",
    "o > x: ping tcp udp",
    "o, a > x: ping6 tcp6 udp6",
    // In.
    "x > r, s, t: ping",
    "x > o: ping tcp udp ping6 tcp6 udp6",
    "x > a@fa, b@fb: ping tcp udp",
    "x > near@shared:2222: tcp",
    "x > c@shared:5353: udp",
    "x > near@shared:2223, near@shared: not tcp",
    "x > near, c: not ping tcp udp",
    // By a floating IP from inside: oneself, a neighbour, another network, another tenant.
    "a > a@fa: ping tcp as fa",
    "near, c > a@fa: ping tcp udp as r",
    "b > a@fa: ping tcp udp as fb",
    "other > a@fa: ping tcp udp as s",
    "o > a@fa: ping tcp udp",
    "o > c@shared:5353: udp",
    // Between tenants, by the addresses of the inside.
    "o > a, c: not ping tcp",
    // Outside leads there.
    "other > o: ping tcp udp as s",
    "a > o: ping6 tcp6 udp6",
    `a > b: mtu ${{ geneve: 1442, vxlan: 1450, gre: 1458 }[kind] - (underlay === undefined ? 0 : 20)}`,
    "a > c: mtu 1300",
    "b > g: mtu6 1300",
    "a > c: trace r.blue c",
    "c > b: trace6 r.green b",
    "b > x: trace r.blue x",
  ],
});
