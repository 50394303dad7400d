// What a rule allowed ends with the rule, in both directions and whoever speaks: a stream that its receiver asked for once, an answer under way.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
let servers: Resource;
let clients: Resource;
let server: Instance;
/** On the server's host, and on the other. */
let near: Instance;
let far: Instance;
const PORT = 7000;
const rules: Resource[] = [];

const v4 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const addresses = { IPv4: v4, IPv6: v6 } as const;
const FAMILIES = ["IPv4", "IPv6"] as const;

async function instance(hv: number, group: Resource): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(hv), net, { port: { security_groups: [group.id] } });
  await made.vm.exec(["ip", "addr", "add", `${v6(made)}/64`, "dev", "eth0", "nodad"]);
  return made;
}

/** Sends a datagram ten times a second for 30 s to whoever sent it one, over either family. */
const STREAMING = `
import socket,threading,time
def stream(s,to):
  for i in range(300):
    try: s.sendto(b"%d"%i,to)
    except OSError: pass
    time.sleep(.1)
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.bind(("::",${PORT}))
print("ready",flush=True)
while True:
  _,to=s.recvfrom(100)
  threading.Thread(target=stream,args=(s,to),daemon=True).start()
`;
/** Asks once, and says what comes. */
const ASKING = `
import socket,sys
s=socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET,socket.SOCK_DGRAM)
s.sendto(b"please",(sys.argv[1],${PORT}))
print("asked",flush=True)
while True: print("got",s.recv(100).decode(),flush=True)
`;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "revoked.test" });
  net = await cloud.network("10.0.1.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  [servers, clients] = await Promise.all([cloud.create("security_group", { name: "servers" }), cloud.create("security_group", { name: "clients" })]);
  for (const rule of clients.security_group_rules as Resource[]) await cloud.remove("security_group_rule", rule.id);
  server = await instance(1, servers);
  near = await instance(1, clients);
  far = await instance(2, clients);
  await server.vm.spawn(["python3", "-c", STREAMING]).waitFor(/ready/);
});
afterAll(async () => cloud?.destroy());
afterEach(async () => {
  for (const rule of rules.splice(0)) await cloud.call("DELETE", `/v2.0/security-group-rules/${rule.id}`);
  for (const i of [near, far]) await cloud.update("port", i.port.id, { security_groups: [clients.id] });
  await cloud.synced();
});

async function allow(values: Record<string, unknown>): Promise<Resource> {
  const rule = await cloud.create("security_group_rule", values);
  rules.push(rule);
  await cloud.synced();
  return rule;
}
const letOut = (ethertype: string): Promise<Resource> => allow({ security_group_id: clients.id, direction: "egress", ethertype });
const letIn = (ethertype: string, more: Record<string, unknown> = {}): Promise<Resource> =>
  allow({ security_group_id: servers.id, direction: "ingress", ethertype, protocol: "udp", port_range_min: PORT, port_range_max: PORT, ...more });

/** Streams to both clients, which asked once; what came in a second, after something was changed and it has arrived on the switches. */
async function streams(ethertype: (typeof FAMILIES)[number]): Promise<{ counted: () => Promise<number[]>; stop: () => Promise<void> }> {
  const running: ReturnType<Instance["vm"]["spawn"]>[] = [];
  for (const { vm } of [near, far]) {
    await vm.reaches(addresses[ethertype](server), { timeoutMs: 200 }); // neighbours and tunnels know each other
    const program = vm.spawn(["python3", "-c", ASKING, addresses[ethertype](server)]);
    await program.waitFor(/got 5/, 5000);
    running.push(program);
  }
  const count = (): number[] => running.map((program) => program.lines.filter((line) => line.startsWith("got")).length);
  return {
    counted: async () => {
      const before = count();
      await sleep(1000);
      return count().map((n, i) => n - before[i]!);
    },
    stop: async () => {
      for (const program of running) await program.stop("SIGKILL");
    },
  };
}
const flowing = (counts: readonly number[]): boolean[] => counts.map((n) => n >= 5);
const ended = (counts: readonly number[]): boolean[] => counts.map((n) => n === 0);

for (const ethertype of FAMILIES) describe(`${ethertype}: a stream, asked for once, that the server alone keeps up`, ethertype === "IPv6" ? { tags: "long" } : {}, () => {
  /** Whether what is done ends the streams to near and to far, and that they ran before. */
  async function ends(change: () => Promise<unknown>): Promise<boolean[]> {
    const { counted, stop } = await streams(ethertype);
    try {
      expect(flowing(await counted())).toEqual([true, true]);
      await change();
      await cloud.synced();
      return ended(await counted());
    } finally {
      await stop();
    }
  }
  const drop = (rule: Resource): Promise<unknown> => cloud.remove("security_group_rule", rule.id);

  test("the server's rule goes", async () => {
    await letOut(ethertype);
    const rule = await letIn(ethertype);
    expect(await ends(() => drop(rule))).toEqual([true, true]);
  });

  test("the client's rule goes", async () => {
    const rule = await letOut(ethertype);
    await letIn(ethertype);
    expect(await ends(() => drop(rule))).toEqual([true, true]);
  });

  test("a rule with a prefix goes, another for one of both stays", async () => {
    await letOut(ethertype);
    const rule = await letIn(ethertype, { remote_ip_prefix: ethertype === "IPv4" ? "10.0.1.0/24" : "fd00:1::/64" });
    await letIn(ethertype, { protocol: "udp", port_range_min: PORT - 10, port_range_max: PORT + 10, remote_ip_prefix: `${addresses[ethertype](far)}/${ethertype === "IPv4" ? 32 : 128}` });
    expect(await ends(() => drop(rule))).toEqual([true, false]);
  });

  test("one of both leaves the group that the rule lets in", async () => {
    await letOut(ethertype);
    const friends = await cloud.create("security_group", { name: "friends" });
    for (const i of [near, far]) await cloud.update("port", i.port.id, { security_groups: [clients.id, friends.id] });
    await letIn(ethertype, { remote_group_id: friends.id });
    expect(await ends(() => cloud.update("port", near.port.id, { security_groups: [clients.id] }))).toEqual([true, false]);
  });

  test("the server loses its group; it has it again, and what it allowed is as before", async () => {
    await letOut(ethertype);
    await letIn(ethertype);
    expect(await ends(() => cloud.update("port", server.port.id, { security_groups: [] }))).toEqual([true, true]);
    await cloud.update("port", server.port.id, { security_groups: [servers.id] });
    await cloud.synced();
    const { counted, stop } = await streams(ethertype);
    expect(flowing(await counted())).toEqual([true, true]);
    await stop();
  });
});
