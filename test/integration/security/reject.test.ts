// Groups whose ports tell senders what they deny: TCP is reset, the rest is told to be administratively prohibited, wherever the sender is and whichever
// side denies it; bounded, and never about what may have no error.
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let nets: readonly [Net, Net];
let telling: Resource;
let server: Instance;
/** On the server's host, on the other, and there behind a router. */
let near: Instance;
let far: Instance;
let routed: Instance;

const v4 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;

/** What a program is told that connects, or sends a datagram: an error of the socket, "connected", or "nothing" within 1.5 s. */
const ASKING = `
import errno, select, socket, sys
kind, ip, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(1.5)
try:
    s.connect((ip, port))
    if kind == "udp": s.send(b"x"); s.recv(10)
    print("connected")
except socket.timeout: print("nothing")
except OSError as e: print(errno.errorcode[e.errno])
`;
const told = async ({ vm }: Instance, kind: "tcp" | "udp", ip: string): Promise<string> => (await vm.exec(["python3", "-c", ASKING, kind, ip, "80"], { timeoutMs: 10_000 })).stdout.trim();
const everything = async (from: Instance, to: Instance): Promise<string[]> => Promise.all([told(from, "tcp", v4(to)), told(from, "tcp", v6(to)), told(from, "udp", v4(to)), told(from, "udp", v6(to))]);
const DENIED = ["ECONNREFUSED", "ECONNREFUSED", "EHOSTUNREACH", "EACCES"];
const SILENCE = ["nothing", "nothing", "nothing", "nothing"];

async function instance(hv: number, net: Net, groups?: readonly Resource[]): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(hv), net, { port: groups === undefined ? {} : { security_groups: groups.map((g) => g.id) } });
  await made.vm.exec(["ip", "addr", "add", `${v6(made)}/64`, "dev", "eth0", "nodad"], { allowFailure: true });
  await made.vm.exec(["ip", "-6", "route", "replace", "default", "via", net === nets[0] ? "fd00:1::1" : "fd00:2::1"], { allowFailure: true });
  return made;
}

beforeAll(async () => {
  cloud = await Cloud.create({ name: "reject.test" });
  nets = [await cloud.network("10.0.1.0/24"), await cloud.network("10.0.2.0/24")];
  const router = await cloud.router(nets);
  for (const [i, { network }] of nets.entries()) {
    const six = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: `fd00:${i + 1}::/64`, gateway_ip: `fd00:${i + 1}::1` });
    expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: six.id })).status).toBe(200);
  }
  telling = await cloud.create("security_group", { name: "telling", "axion:deny": "reject" });
  server = await instance(1, nets[0], [telling]);
  near = await instance(1, nets[0]);
  far = await instance(2, nets[0]);
  routed = await instance(2, nets[1]);
  await cloud.synced();
  // Of two hosts that have not spoken yet the userspace datapath loses the first packets, while it asks for the other's MAC.
  for (const from of [far, routed]) for (const ip of [v4(server), v6(server)]) await told(from, "tcp", ip);
});
afterAll(async () => cloud?.destroy());

test.each([["on its host", (): Instance => near], ["on another", (): Instance => far], ["behind a router", (): Instance => routed]])("a sender %s is told what the receiver does not let in", async (_, from) => {
  expect(await everything(from(), server)).toEqual(DENIED);
});

test("a sender is told what it may not send itself", async () => {
  const silent = await cloud.create("security_group", { name: "mute", "axion:deny": "reject" });
  for (const rule of silent.security_group_rules as Resource[]) await cloud.remove("security_group_rule", rule.id);
  const mute = await instance(2, nets[0], [silent]);
  await cloud.synced();
  for (const to of [server, far, routed]) expect(await everything(mute, to)).toEqual(DENIED);
});

test("other groups tell nobody, and what is let in is not told of", async () => {
  const plain = await instance(1, nets[0], [await cloud.create("security_group", { name: "silent" })]);
  await cloud.synced();
  expect(await everything(far, plain)).toEqual(SILENCE);
  await server.vm.listen(80);
  await cloud.create("security_group_rule", { security_group_id: telling.id, direction: "ingress", protocol: "tcp" });
  await cloud.synced();
  expect(await everything(far, server)).toEqual(["connected", "ECONNREFUSED", "EHOSTUNREACH", "EACCES"]);
});

test("stateless ports tell as well, and senders with rules for it are told", async () => {
  const stateless = await cloud.create("security_group", { name: "stateless", stateful: false, "axion:deny": "reject" });
  const quiet = await instance(1, nets[0], [stateless]);
  await cloud.synced();
  for (const from of [near, far, routed]) expect(await everything(from, quiet)).toEqual(DENIED);
});

test("so many times a second, and never about what goes to many", async () => {
  const capture = await far.vm.tcpdump(`icmp and src ${v4(server)}`);
  const started = Date.now();
  await far.vm.exec(["python3", "-c", `
import socket,time
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for i in range(600): s.sendto(b"x",("${v4(server)}",81)); time.sleep(.002)
`], { timeoutMs: 20_000 });
  const seconds = (Date.now() - started) / 1000;
  await new Promise((done) => setTimeout(done, 500));
  const { count } = await capture.stop();
  expect(count).toBeGreaterThan(5);
  expect(count).toBeLessThanOrEqual(20 + 10 * (seconds + 2));
  const many = await far.vm.tcpdump("icmp");
  await far.vm.exec(["python3", "-c", `
import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)
for i in range(3): s.sendto(b"x",("10.0.1.255",82)); s.sendto(b"x",("224.0.0.251",82))
`]);
  await new Promise((done) => setTimeout(done, 1500));
  expect((await many.stop()).count).toBe(0);
  expect(await cloud.differences()).toBe("");
});
