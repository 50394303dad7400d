// Logs of security groups on real switches: what is accepted and dropped of a logged port is told, with who, what and which rule; of others nothing is; a flood costs no more than
// its port may.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

interface Entry {
  readonly log: string;
  readonly port_id: string;
  readonly event: "ACCEPT" | "DROP";
  readonly direction: string;
  readonly switch: string;
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  readonly destination_port: number | null;
  readonly icmp_type: number | null;
  readonly rules: readonly string[];
}

describe.skipIf(Lab.missing().length > 0)("logs of security groups", () => {
  let cloud: Cloud;
  let net: Net;
  let group: Resource;
  let tcp: Resource;
  let egress: Resource[];
  let [a, b, c]: Instance[] = [];
  let log: Resource;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "logging" });
    net = await cloud.network("10.0.0.0/24");
    group = await cloud.create("security_group", { name: "web" });
    egress = (await cloud.show("security_group", group.id)).security_group_rules as Resource[];
    tcp = await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 8080, port_range_max: 8089 });
    const port = { security_groups: [group.id] };
    [a, b, c] = [await cloud.instance(cloud.hv(1), net, { port }), await cloud.instance(cloud.hv(2), net, { port }), await cloud.instance(cloud.hv(2), net, { port })];
    const { status, body } = await cloud.call("POST", "/v2.0/log/logs", { log: { name: "b", resource_type: "security_group", resource_id: group.id, target_id: b.port.id } });
    expect(status, JSON.stringify(body)).toBe(201);
    log = body.log! as Resource;
    await cloud.renewed();
  }, 90_000);
  afterAll(async () => cloud?.destroy());

  const entries = async (query = ""): Promise<Entry[]> => (await cloud.controller.ops<Entry[]>("GET", `/logs?${query}`)).body;
  const of = async (event: string, direction: string, to: string, port: number | null): Promise<Entry[]> => (await entries(`event=${event}`)).filter((e) => e.direction === direction && e.destination === to && e.destination_port === port);
  /** Sends so many datagrams, as fast as it can. */
  const flood = (from: Instance, to: string, port: number, count: number): Promise<unknown> =>
    from.vm.exec(["python3", "-c", `import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nfor _ in range(${count}): s.sendto(b"x", ("${to}", ${port}))`]);

  test("a connection that is accepted is told once, with its rule; what is dropped, too; of a port that is not logged nothing", async () => {
    const [server, others] = [await b!.vm.listen(8080), await c!.vm.listen(8080)];
    const connection = await a!.vm.openTcp(b!.ip, 8080);
    for (const text of ["one", "two", "three"]) expect(await connection.echo(text)).toBe(true);
    expect(await a!.vm.connectTcp(c!.ip, 8080)).toBe(true);
    for (const to of [b!, c!]) expect(await a!.vm.connectTcp(to.ip, 9999, 500)).toBe(false);
    await until("an entry of what was dropped", async () => (await of("DROP", "ingress", b!.ip, 9999)).length > 0, { timeoutMs: 5000 });
    expect(await of("ACCEPT", "ingress", b!.ip, 8080)).toMatchObject([{ log: log.id, port_id: b!.port.id, switch: "hv2", protocol: 6, source: a!.ip, rules: [tcp.id] }]);
    const [dropped] = await of("DROP", "ingress", b!.ip, 9999);
    expect(dropped).toMatchObject({ log: log.id, port_id: b!.port.id, protocol: 6, source: a!.ip, rules: [] });
    // What it opens itself.
    expect(await b!.vm.connectTcp(c!.ip, 8080)).toBe(true);
    await until("an entry of what it opened", async () => (await of("ACCEPT", "egress", c!.ip, 8080)).length > 0, { timeoutMs: 5000 });
    expect((await of("ACCEPT", "egress", c!.ip, 8080))[0]).toMatchObject({ source: b!.ip, rules: [egress.find((r) => r.ethertype === "IPv4" && r.direction === "egress")!.id] });
    await a!.vm.ping(b!.ip, { count: 1 });
    await until("an entry of the ping", async () => (await entries("event=DROP")).some((e) => e.protocol === 1 && e.icmp_type === 8 && e.destination === b!.ip), { timeoutMs: 5000 });
    expect(new Set((await entries()).map((e) => e.port_id))).toEqual(new Set([b!.port.id]));
    const lines = cloud.controller.lines.filter((line) => line.includes('"security group event"')).map((line) => JSON.parse(line) as Entry & { group: string });
    expect(lines).toContainEqual(expect.objectContaining({ event: "DROP", destination: b!.ip, destination_port: 9999, port_id: b!.port.id, group: group.id, app: "logging" }));
    await Promise.all([connection.close(), server.close(), others.close()]);
  }, 60_000);

  test("a trace says as before why a packet to a logged port goes no further", async () => {
    const { body } = await cloud.controller.ops<{ verdict: string; cause: { reason: string } }>("POST", "/trace", { from: a!.port.id, to: b!.port.id, protocol: "tcp", port: 9999 });
    expect([body.verdict, body.cause.reason]).toEqual(["dropped", "security_group"]);
    const back = await cloud.controller.ops<{ verdict: string; cause: { reason: string } }>("POST", "/trace", { from: b!.port.id, to: c!.port.id, protocol: "tcp", port: 9999 });
    expect([back.body.verdict, back.body.cause.reason]).toEqual(["dropped", "security_group"]);
    const passes = await cloud.controller.ops<{ verdict: string }>("POST", "/trace", { from: a!.port.id, to: b!.port.id, protocol: "tcp", port: 8080 });
    expect(passes.body.verdict).toBe("delivered");
  });

  test("of a flood no more comes up than the port's meter lets through, and others go on", async () => {
    const before = (await entries()).length;
    const from = Date.now();
    await flood(a!, b!.ip, 7000, 20_000);
    await until("entries of the flood", async () => (await of("DROP", "ingress", b!.ip, 7000)).length > 20, { timeoutMs: 5000 });
    expect(await a!.vm.connectTcp(c!.ip, 9998, 300)).toBe(false);
    // 40 at once and 20 a second; userspace meters count in steps.
    expect((await entries()).length - before).toBeLessThan(60 + (25 * (Date.now() - from)) / 1000);
    expect((await cloud.call("DELETE", `/v2.0/log/logs/${log.id}`)).status).toBe(204);
    await cloud.renewed();
    const last = (await entries()).length;
    await flood(a!, b!.ip, 7001, 100);
    expect(await a!.vm.connectTcp(b!.ip, 9997, 300)).toBe(false);
    expect((await entries()).length).toBe(last);
  }, 60_000);
});
