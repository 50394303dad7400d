// An app is one folder: the documented skeleton, copied under a name of its own, works at once in every part of the product;
// taken away again, nothing of it is left.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { buildEthernet, buildIcmpv4, buildIpv4, echoRest, ethertypes, icmpv4Types, ipProtocols, parsePacket } from "packet-codec";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { App, PacketIn, StageOut } from "#app";
import { repositoryRoot } from "../../lab/controller.ts";
import { until } from "../../lab/exec.ts";
import { Lab } from "../../lab/lab.ts";
import { Cloud } from "../support/cloud.ts";
import { appsFolder, Harness, silent } from "../support/harness.ts";

const NAME = "lighthouse";
const root = repositoryRoot();
/** In the repository, so that "#app" and the packages resolve; outside of apps/, where other tests would find it. */
const scratch = path.join(root, ".lab", `template-${process.pid}`);
const folder = path.join(scratch, "apps");

const renamed = (text: string): string =>
  text.replaceAll("_template", NAME).replaceAll("beacon", "lamp").replaceAll("Beacon", "Lamp").replaceAll("BEACON", "LAMP");

/** Copies a folder of the skeleton, every name in it replaced. */
function copyTemplate(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from)) if (/\.[jt]s$/.test(file) && !/\.(test|d)\.ts$/.test(file)) writeFileSync(path.join(to, file), renamed(readFileSync(path.join(from, file), "utf8")));
}

let open: Harness[] = [];
async function make(): Promise<Harness> {
  const harness = await Harness.make([], folder);
  open.push(harness);
  await harness.addChassis("hv1");
  await harness.addChassis("hv2");
  return harness;
}

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  for (const app of readdirSync(appsFolder)) if (!app.startsWith("_")) symlinkSync(path.join(appsFolder, app), path.join(folder, app));
  copyTemplate(path.join(appsFolder, "_template"), path.join(folder, NAME));
});
afterEach(async () => {
  for (const harness of open) await harness.close();
  open = [];
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A network with one VM on hv1, and a lamp. */
async function lit(harness: Harness): Promise<{ network: string; port: string; lamp: { id: string; port_id: string; network_id: string }; address: string; mac: string }> {
  const headers = { "x-project-id": "p1" };
  const network = (await harness.create("network", { name: "net" }, headers)).id;
  await harness.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, headers);
  const port = (await harness.create("port", { network_id: network }, headers)).id;
  await harness.plug("hv1", port, 11);
  const lamp = (await harness.create("lamp", { network_id: network, name: "first" }, headers)) as unknown as { id: string; port_id: string; network_id: string };
  const its = (await harness.call("GET", `/v2.0/ports/${lamp.port_id}`)).body.port as { fixed_ips: { ip_address: string }[]; mac_address: string };
  await harness.settled();
  return { network, port, lamp, address: its.fixed_ips[0]!.ip_address, mac: its.mac_address };
}

/** Flows of a chassis that the app made: table, rule, resources. */
function flowsOf(harness: Harness, chassis: string): { table: string; rule: string; resources: string[] }[] {
  return [...harness.engine.flowsOf(chassis)].flatMap((flow) => {
    const p = harness.engine.provenance(flow);
    return p.app === NAME ? [{ table: harness.layout.tableById(flow.table)!.name, rule: p.rule, resources: p.resources.map((r) => `${r.type}:${r.id}`) }] : [];
  });
}

describe("the copy", () => {
  test("is found, and its manifest is in order", async () => {
    const harness = await make();
    expect(harness.apps.map((a) => a.name)).toContain(NAME);
    for (const table of ["lamp_input", "lamp_punt"]) expect(harness.layout.tables.map((t) => t.name)).toContain(table);
    expect(harness.layout.register("lamp_hit").bits).toBe(1);
    const aliases = (await harness.call("GET", "/v2.0/extensions")).body.extensions as { alias: string }[];
    expect(aliases.map((a) => a.alias)).toContain("lamp");
    expect(JSON.stringify((await harness.call("GET", "/openapi.json")).body)).toContain("/lamps");
  });

  test("serves its resource: create, show, list, filter, change, tag, delete, refusals, policy", async () => {
    const harness = await make();
    const { network, lamp } = await lit(harness);
    const url = `/v2.0/lamps/${lamp.id}`;
    expect(lamp).toMatchObject({ name: "first", network_id: network, project_id: "p1" });
    expect((await harness.call("GET", url)).body.lamp).toMatchObject({ id: lamp.id, port_id: lamp.port_id });
    expect((await harness.call("GET", `/v2.0/lamps?network_id=${network}`)).body.lamps).toHaveLength(1);
    expect((await harness.call("GET", "/v2.0/lamps?name=second")).body.lamps).toEqual([]);
    expect((await harness.call("PUT", url, { lamp: { name: "second", description: "bright" } })).body.lamp).toMatchObject({ name: "second", description: "bright" });
    expect((await harness.call("PUT", `${url}/tags/red`)).status).toBe(201);
    expect((await harness.call("GET", url, undefined, { "x-project-id": "p2" })).status).toBe(404);
    expect((await harness.call("POST", "/v2.0/lamps", { lamp: {} })).status).toBe(400);
    expect((await harness.call("POST", "/v2.0/lamps", { lamp: { network_id: network, colour: "red" } })).body.NeutronError.type).toBe("HTTPBadRequest");
    expect((await harness.call("POST", "/v2.0/lamps", { lamp: { network_id: "00000000-0000-4000-8000-000000000001" } })).body.NeutronError.type).toBe("NetworkNotFound");
    expect((await harness.call("GET", "/v2.0/lamps/nope")).body.NeutronError).toMatchObject({ type: "LampNotFound", message: "Lamp nope could not be found." });
    expect((await harness.call("DELETE", url)).status).toBe(204);
    expect((await harness.call("GET", url)).status).toBe(404);
    expect((await harness.call("GET", `/v2.0/ports/${lamp.port_id}`)).status).toBe(404);
  });

  test("has flows where its network is, with their cause, and none where it is not or when it is gone", async () => {
    const harness = await make();
    const { lamp, port } = await lit(harness);
    expect(flowsOf(harness, "hv1")).toContainEqual({ table: "lamp_input", rule: "ping", resources: expect.arrayContaining([`lamp:${lamp.id}`, `port:${lamp.port_id}`]) as string[] });
    expect(flowsOf(harness, "hv1").map((f) => `${f.table} ${f.rule}`)).toContain("lamp_punt punt");
    expect(flowsOf(harness, "hv2").filter((f) => f.rule !== "static")).toEqual([]);
    await harness.call("DELETE", `/v2.0/lamps/${lamp.id}`);
    await harness.settled();
    expect(flowsOf(harness, "hv1").map((f) => f.rule)).not.toContain("ping");
    await harness.unplug("hv1", port);
    await harness.settled();
    expect(flowsOf(harness, "hv1").filter((f) => f.rule !== "static")).toEqual([]);
  });

  test("answers a real ping", async () => {
    const harness = await make();
    const { address, mac } = await lit(harness);
    const app = harness.apps.find((a) => a.name === NAME) as App;
    const request = { src: "10.0.0.77", dst: address };
    const icmp = buildIcmpv4({ type: icmpv4Types.echoRequest, code: 0, rest: echoRest(0x1234, 7) }, Buffer.from("how bright is it?"));
    const frame = buildEthernet({ dst: mac, src: "fa:16:3e:00:00:77", ethertype: ethertypes.ipv4 }, buildIpv4({ ...request, protocol: ipProtocols.icmpv4 }, icmp));
    const ask = (data: Uint8Array): readonly StageOut[] => {
      const packet: PacketIn = { chassis: "hv1", inPort: 11, table: "lamp_punt", data, register: ((name: string) => ({ net: 3, in_port_key: 4 })[name]) as PacketIn["register"] };
      return app.packetIn!.lamp_punt!(packet, harness.view, silent) as readonly StageOut[];
    };
    const [reply, ...more] = ask(frame);
    expect(more).toEqual([]);
    expect(reply).toMatchObject({ chassis: "hv1", stage: "locate", registers: { net: 3, out_port_key: 4, from_network: 1 } });
    const { eth, ipv4, icmpv4 } = parsePacket(reply!.data);
    expect(eth).toMatchObject({ src: mac, dst: "fa:16:3e:00:00:77" });
    expect(ipv4).toMatchObject({ src: address, dst: "10.0.0.77" });
    expect(icmpv4).toMatchObject({ type: icmpv4Types.echoReply, rest: echoRest(0x1234, 7) });
    expect(Buffer.from(icmpv4!.payload).toString()).toBe("how bright is it?");
    // Its own answer, half a frame, no frame: nothing breaks.
    expect(ask(reply!.data)).toEqual([]);
    for (let length = 0; length < frame.length; length += 3) expect(ask(frame.subarray(0, length)).length).toBeLessThanOrEqual(1);
  });

  test("can be deleted when its port is gone, and goes at the next start", async () => {
    let harness = await make();
    const { lamp, network } = await lit(harness);
    const other = await harness.create("lamp", { network_id: network });
    for (const { port_id } of [lamp, other as unknown as { port_id: string }]) expect((await harness.call("DELETE", `/v2.0/ports/${port_id}`)).status).toBe(204);
    expect((await harness.call("DELETE", `/v2.0/lamps/${lamp.id}`)).status).toBe(204);
    await harness.settled();
    open = open.filter((h) => h !== harness);
    open.push((harness = await harness.restart()));
    expect(harness.takenBack).toMatchObject([{ app: NAME, table: "lamp", id: other.id }]);
    expect((await harness.call("GET", "/v2.0/lamps")).body.lamps).toEqual([]);
  });

  test("agrees with the others: no two rules want different flows for the same match", async () => {
    const harness = await make();
    await lit(harness);
    expect(harness.engine.conflicts).toEqual([]);
  });
});

test("taken away, nothing of it is left", async () => {
  const before = await make();
  rmSync(path.join(folder, NAME), { recursive: true });
  try {
    const after = await make();
    expect(after.apps.map((a) => a.name)).toEqual(before.apps.map((a) => a.name).filter((n) => n !== NAME));
    expect((await after.call("GET", "/v2.0/lamps")).status).toBe(404);
    expect(JSON.stringify((await after.call("GET", "/v2.0/extensions")).body)).not.toMatch(/lamp/i);
    expect(JSON.stringify((await after.call("GET", "/openapi.json")).body)).not.toMatch(/lamp/i);
    expect(after.layout.tables.map((t) => t.name).filter((n) => n.startsWith("lamp"))).toEqual([]);
    expect(() => after.layout.register("lamp_hit")).toThrow();
    await after.settled();
    expect(flowsOf(after, "hv1")).toEqual([]);
    const plain = await Harness.make();
    open.push(plain);
    expect(after.layout.tables).toEqual(plain.layout.tables);
  } finally {
    copyTemplate(path.join(appsFolder, "_template"), path.join(folder, NAME));
  }
});

describe.skipIf(Lab.missing().length > 0)("on real switches", () => {
  const tree = path.join(scratch, "tree");
  let cloud: Cloud;

  beforeAll(async () => {
    // The compiled controller with one app more: "#app" of the copy must lead to the copy.
    mkdirSync(tree, { recursive: true });
    cpSync(path.join(root, "package.json"), path.join(tree, "package.json"));
    for (const part of ["src", "apps"]) cpSync(path.join(root, "dist", part), path.join(tree, "dist", part), { recursive: true });
    symlinkSync(path.join(root, "node_modules"), path.join(tree, "node_modules"));
    copyTemplate(path.join(root, "dist/apps/_template"), path.join(tree, "dist/apps", NAME));
    cloud = await Cloud.create({ name: "template.test", main: path.join(tree, "dist/src/main.js") });
  });
  afterAll(async () => cloud?.destroy());

  test("a VM pings the address, sees it in the dump, and no more when it is gone", async () => {
    const net = await cloud.network("10.0.0.0/24");
    const [a, b] = [await cloud.instance(cloud.hv(1), net), await cloud.instance(cloud.hv(2), net)];
    await until("an answer of the other VM", () => a.vm.reaches(b.ip));
    const lamp = await cloud.create("lamp", { network_id: net.network.id });
    const address = ((await cloud.show("port", lamp.port_id as string)).fixed_ips as { ip_address: string }[])[0]!.ip_address;
    for (const { vm } of [a, b]) {
      await until("an answer of the lamp", () => vm.reaches(address));
      expect(await vm.ping(address, { count: 5, intervalMs: 50 })).toMatchObject({ received: 5 });
    }
    expect(await a.vm.ping(address, { count: 3, intervalMs: 50, sizeBytes: 1200 })).toMatchObject({ received: 3 });
    const dump = (await cloud.controller.ops<string>("GET", `/flows?resource=${lamp.id}&format=text`)).body;
    expect(dump).toContain(`# ${NAME}/ping`);
    expect(dump).toContain(`nw_dst=${address}`);
    const events = await cloud.metric("axion_packet_ins_total");
    expect(events).toBeGreaterThan(0);

    await cloud.remove("lamp", lamp.id);
    await until("silence", async () => !(await a.vm.reaches(address, { timeoutMs: 300 })));
    expect(await a.vm.reaches(b.ip)).toBe(true);

    // Without its folder the controller goes on with the same data; its tables and flows leave the switches. The port that
    // a lamp had is the tenant's to delete, as any port.
    const again = await cloud.create("lamp", { network_id: net.network.id });
    await cloud.controller.stop();
    rmSync(path.join(tree, "dist/apps", NAME), { recursive: true });
    await cloud.controller.start();
    await cloud.synced();
    expect((await cloud.call("GET", "/v2.0/lamps")).status).toBe(404);
    const { flows } = (await cloud.controller.ops<{ flows: { app: string; table: string }[] }>("GET", "/flows")).body;
    expect(flows.length).toBeGreaterThan(0);
    expect(flows.filter((f) => f.app === NAME || f.table.startsWith("lamp"))).toEqual([]);
    await cloud.remove("port", again.port_id as string);
    await cloud.synced();
    expect((await cloud.controller.ops<string>("GET", "/flows?format=text")).body).not.toMatch(new RegExp(`${NAME}|lamp|${again.id}`));
    await until("the other VM", () => a.vm.reaches(b.ip));
  }, 90_000);
});
