// Local IPs and their associations by the API, and the flows of it: at hosts that have an associated port, and there alone.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { addressTable, portTable } from "../l2/model.ts";
import { associationTable, localIpTable } from "./model.ts";

let h: Harness;
let network: string;
let subnet: string;
let [one, two, client]: string[] = [];

const p = { "x-project-id": "p", "x-roles": "member" };
const q = { "x-project-id": "q", "x-roles": "member" };

async function made(path: string, name: string, values: Record<string, unknown>, headers = p): Promise<any> {
  const { status, body } = await h.call("POST", path, { [name]: values }, headers);
  expect(status, JSON.stringify(body)).toBe(201);
  await h.settled();
  return body[name];
}
const localIp = (values: Record<string, unknown>, headers = p): Promise<any> => made("/v2.0/local-ips", "local_ip", values, headers);
const associate = (of: string, port: string, values = {}): Promise<any> => made(`/v2.0/local_ips/${of}/port_associations`, "port_association", { fixed_port_id: port, ...values });
async function refused(path: string, name: string, values: Record<string, unknown>, headers = p): Promise<unknown> {
  const { status, body } = await h.call("POST", path, { [name]: values }, headers);
  return [status, body.NeutronError?.type, body.NeutronError?.message];
}
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
const all = (): string[] => ["hv1", "hv2"].flatMap((host) => [...h.engine.flowsOf(host)].map((f) => `${host} ${textOf(f)}`)).sort();
const ipOf = (id: string): string => h.view.by(addressTable, "port", id)[0]!.ip;

beforeEach(async () => {
  h = await Harness.make();
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  network = (await h.create("network", {}, p)).id;
  subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, p)).id;
  [one, two, client] = [await plugged("hv1", 10), await plugged("hv2", 11), await plugged("hv1", 12)];
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});
async function plugged(host: string, ofport: number): Promise<string> {
  const { id } = await h.create("port", { network_id: network }, p);
  await h.plug(host, id, ofport);
  return id;
}

test("an address of its own, one that was asked for, and that of a port", async () => {
  const own = await localIp({ name: "l", network_id: network });
  expect(own).toMatchObject({ name: "l", description: "", network_id: network, ip_mode: "translate", project_id: "p" });
  const port = (await h.call("GET", `/v2.0/ports/${own.local_port_id}`, undefined, p)).body.port;
  expect(port).toMatchObject({ device_owner: "network:local_ip", device_id: own.id, fixed_ips: [{ subnet_id: subnet, ip_address: own.local_ip_address }] });
  expect((await h.call("DELETE", `/v2.0/ports/${port.id}`, undefined, p)).body.NeutronError.type).toBe("ServicePortInUse");
  expect(await localIp({ network_id: network, local_ip_address: "10.0.0.77", ip_mode: "passthrough" })).toMatchObject({ local_ip_address: "10.0.0.77", ip_mode: "passthrough" });
  expect(await localIp({ local_port_id: client })).toMatchObject({ local_port_id: client, network_id: network, local_ip_address: ipOf(client!) });
  expect((await h.call("PUT", `/v2.0/local_ips/${own.id}`, { local_ip: { name: "m", description: "d" } }, p)).body.local_ip).toMatchObject({ name: "m", description: "d" });
  expect((await h.call("PUT", `/v2.0/local-ips/${own.id}`, { local_ip: { ip_mode: "passthrough" } }, p)).status).toBe(400);
  expect((await h.call("GET", "/v2.0/local-ips?ip_mode=passthrough&fields=local_ip_address", undefined, p)).body).toEqual({ local_ips: [{ local_ip_address: "10.0.0.77" }] });
  expect((await h.call("DELETE", `/v2.0/local-ips/${own.id}`, undefined, p)).status).toBe(204);
  expect(h.view.get(portTable, own.local_port_id as string)).toBeUndefined();
});

test("the port that was made for it stays that, and no other becomes it: it goes with the local IP, in whichever order the rest went", async () => {
  const own = await localIp({ network_id: network });
  const named = await localIp({ local_port_id: client });
  const changed = async (id: string, values: object): Promise<string> => {
    const before = h.model.generation;
    const { status, body } = await h.call("PUT", `/v2.0/ports/${id}`, { port: values }, p);
    if (status !== 200) expect(h.model.generation).toBe(before);
    return status === 200 ? "200" : `${status} ${body.NeutronError.type}${/ cannot be (?:deleted|changed \([^)]*\))/.exec(body.NeutronError.message as string)?.[0] ?? ""}`;
  };
  for (const values of [{ device_owner: "" }, { device_owner: "compute:nova" }, { device_id: "" }, { device_owner: "", device_id: "", name: "x" }]) expect(await changed(own.local_port_id as string, values)).toBe(`409 ServicePortInUse cannot be changed (${["device_id", "device_owner"].filter((name) => name in values).join(", ")})`);
  expect(await changed(client!, { device_owner: "network:local_ip", device_id: named.id })).toBe("409 ServicePortInUse cannot be changed (device_id, device_owner)");
  expect(await changed(own.local_port_id as string, { name: "x", device_owner: "network:local_ip", device_id: own.id })).toBe("200");
  await associate(own.id as string, one!);
  await associate(own.id as string, two!);
  await associate(named.id as string, two!);
  const gone = async (path: string): Promise<number> => (await h.call("DELETE", path, undefined, p)).status;
  expect(await gone(`/v2.0/local_ips/${own.id}`)).toBe(409);
  expect(await gone(`/v2.0/ports/${one}`)).toBe(204);
  expect(await gone(`/v2.0/local_ips/${own.id}`)).toBe(409);
  expect(await gone(`/v2.0/local_ips/${own.id}/port_associations/${two}`)).toBe(204);
  expect(await gone(`/v2.0/local_ips/${own.id}`)).toBe(204);
  expect(h.view.get(portTable, own.local_port_id as string)).toBeUndefined();
  expect(await gone(`/v2.0/ports/${client}`)).toBe(204);
  expect([[...h.view.all(associationTable)], [...h.view.all(localIpTable)]]).toEqual([[], []]);
});

test("what does not go together is refused by name", async () => {
  expect(await refused("/v2.0/local-ips", "local_ip", {})).toMatchObject([400, "LocalIPPortOrNetworkRequired", "Either Port ID or Network ID must be specified for Local IP create."]);
  const bare = (await h.create("port", { network_id: network, fixed_ips: [] }, p)).id;
  const double = (await h.create("port", { network_id: network, fixed_ips: [{ ip_address: "10.0.0.50" }, { ip_address: "10.0.0.51" }] }, p)).id;
  expect(await refused("/v2.0/local-ips", "local_ip", { local_port_id: bare })).toMatchObject([400, "LocalIPNoIP", expect.any(String)]);
  expect(await refused("/v2.0/local-ips", "local_ip", { local_port_id: double })).toMatchObject([400, "LocalIPNoRequestedIP", expect.any(String)]);
  expect(await refused("/v2.0/local-ips", "local_ip", { local_port_id: double, local_ip_address: "10.0.0.52" })).toMatchObject([400, "LocalIPRequestedIPNotFound", expect.any(String)]);
  expect(await localIp({ local_port_id: double, local_ip_address: "10.0.0.51" })).toMatchObject({ local_ip_address: "10.0.0.51" });
  const { id } = await localIp({ network_id: network });
  const path = `/v2.0/local_ips/${id}/port_associations`;
  expect(await refused(path, "port_association", { fixed_port_id: bare })).toMatchObject([400, "LocalIPNoIP", expect.any(String)]);
  expect(await refused(path, "port_association", { fixed_port_id: double })).toMatchObject([400, "LocalIPNoRequestedIP", expect.any(String)]);
  expect(await refused(path, "port_association", { fixed_port_id: one, fixed_ip: "10.0.0.99" })).toMatchObject([400, "LocalIPRequestedIPNotFound", expect.any(String)]);
  const elsewhere = (await h.create("network", {}, p)).id;
  expect(await refused(path, "port_association", { fixed_port_id: (await h.create("port", { network_id: elsewhere }, p)).id })).toMatchObject([400, "InvalidInput", expect.stringContaining("fixed_port_id")]);
  await associate(id, one!);
  expect(await refused(path, "port_association", { fixed_port_id: one })).toMatchObject([409, "LocalIPAssociationExists", expect.any(String)]);
  expect((await h.call("DELETE", `/v2.0/local-ips/${id}`, undefined, p)).body.NeutronError).toMatchObject({ type: "LocalIPInUse" });
  expect((await h.call("DELETE", `${path}/${two}`, undefined, p)).body.NeutronError).toMatchObject({ type: "LocalIPAssociationNotFound", message: `Local IP ${id} association with port ${two} could not be found.` });
  expect((await h.call("GET", path, undefined, q)).status).toBe(404);
  const shared = (await h.create("network", { shared: true }, {})).id;
  await h.create("subnet", { network_id: shared, ip_version: 4, cidr: "10.9.0.0/24" });
  const theirs = (await h.create("port", { network_id: shared }, q)).id;
  expect((await refused("/v2.0/local-ips", "local_ip", { local_port_id: theirs }) as unknown[])[0]).toBe(404);
});

test("it leads at each host to the associated port there, and nothing is left of it", async () => {
  const local = await localIp({ network_id: network });
  const before = all();
  expect(await associate(local.id, one!)).toMatchObject({ local_ip_id: local.id, local_ip_address: local.local_ip_address, fixed_port_id: one, fixed_ip: ipOf(one!), host: "hv1" });
  expect([flows("hv1", "local_ip_out").length, flows("hv1", "local_ip_known").length, flows("hv1", "local_ip_in").length, flows("hv2", "local_ip_out").length]).toEqual([1, 2, 1, 0]);
  expect(flows("hv1", "local_ip_out")[0]).toContain(`nw_dst=${local.local_ip_address}`);
  await associate(local.id, two!);
  expect(flows("hv2", "local_ip_out")).toHaveLength(1);
  // Of two at one host one is used.
  await associate(local.id, client!);
  expect(flows("hv1", "local_ip_out")).toHaveLength(1);
  for (const port of [one, two, client]) expect((await h.call("DELETE", `/v2.0/local_ips/${local.id}/port_associations/${port}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect(all()).toEqual(before);
});

test("it goes with its port; an association with the port, or the address, that it is of", async () => {
  const local = await localIp({ local_port_id: client });
  await associate(local.id, one!);
  await associate(local.id, two!);
  expect((await h.call("PUT", `/v2.0/ports/${one}`, { port: { fixed_ips: [{ ip_address: "10.0.0.99" }] } }, p)).status).toBe(200);
  expect((await h.call("PUT", `/v2.0/ports/${client}`, { port: { fixed_ips: [{ ip_address: "10.0.0.98" }] } }, p)).body.NeutronError.type).toBe("LocalIPInUse");
  expect([...h.view.all(associationTable)].map((a) => a.fixed_port_id)).toEqual([two]);
  expect((await h.call("DELETE", `/v2.0/ports/${client}`, undefined, p)).status).toBe(204);
  expect([[...h.view.all(associationTable)], [...h.view.all(localIpTable)]]).toEqual([[], []]);
});

test("passed through it is handed to the port as it is, with no zone and no conntrack", async () => {
  const local = await localIp({ network_id: network, ip_mode: "passthrough" });
  await associate(local.id, one!);
  expect(flows("hv1", "local_ip_out")).toHaveLength(1);
  expect(flows("hv1", "local_ip_out")[0]).not.toContain("ct(");
  expect(flows("hv1", "local_ip_in")).toEqual([]);
});

test("an address of a port leads by one local IP: a second would lead elsewhere", async () => {
  const { id } = await localIp({ local_port_id: client });
  expect(await refused("/v2.0/local-ips", "local_ip", { local_port_id: client })).toEqual([409, "LocalIPExists", `Address ${ipOf(client!)} of port ${client} is that of Local IP ${id} already.`]);
  await h.call("PUT", `/v2.0/ports/${client}`, { port: { fixed_ips: [{ ip_address: ipOf(client!) }, { ip_address: "10.0.0.88" }] } }, p);
  expect(await localIp({ local_port_id: client, local_ip_address: "10.0.0.88" })).toMatchObject({ local_ip_address: "10.0.0.88" });
});

test("a port that several local IPs lead to has one zone for all, and answers as whichever was asked", async () => {
  const [first, second] = [await localIp({ network_id: network }), await localIp({ network_id: network })];
  await associate(first.id, one!);
  const alone = flows("hv1", "local_ip_in");
  await associate(second.id, one!);
  expect([flows("hv1", "local_ip_out").length, flows("hv1", "local_ip_known").length, flows("hv1", "local_ip_in")]).toEqual([2, 3, alone]);
  expect((await h.call("DELETE", `/v2.0/local_ips/${first.id}/port_associations/${one}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect([flows("hv1", "local_ip_out").length, flows("hv1", "local_ip_known").length, flows("hv1", "local_ip_in")]).toEqual([1, 2, alone]);
});

test("a port that goes is the matter of its own host: those that are associated elsewhere are not looked at", async () => {
  const others: string[] = [];
  for (let n = 3; n <= 10; n++) {
    await h.addChassis(`hv${n}`);
    others.push(await plugged(`hv${n}`, 10));
  }
  const local = await localIp({ network_id: network });
  await associate(local.id, one!);
  const ran = async (): Promise<number> => {
    await h.settled();
    const { runs } = h.engine.stats;
    await h.unplug("hv1", one!);
    await h.settled();
    const after = h.engine.stats.runs - runs;
    await h.plug("hv1", one!, 10);
    return after;
  };
  const alone = await ran();
  for (const other of others) await associate(local.id, other);
  expect(await ran()).toBe(alone);
});

test("an address that its port lost while the app was left out leads nowhere: it may be somebody else's now", async () => {
  const bare = (await h.create("port", { network_id: network, fixed_ips: [{ ip_address: "10.0.0.60" }] }, p)).id;
  await associate((await localIp({ local_port_id: bare })).id, one!);
  expect([flows("hv1", "local_ip_out").length, flows("hv1", "arp_nd").some((f) => f.includes("10.0.0.60"))]).toEqual([1, true]);
  h = await h.restart(["local-ip"]);
  expect((await h.call("PUT", `/v2.0/ports/${bare}`, { port: { fixed_ips: [{ ip_address: "10.0.0.61" }] } }, p)).status).toBe(200);
  h = await h.restart([]);
  await h.settled();
  expect([flows("hv1", "local_ip_out"), flows("hv1", "arp_nd").filter((f) => f.includes("10.0.0.60"))]).toEqual([[], []]);
});

test("a second local IP at a host, or another place of one, is no matter of the ports there: they pass the tables already", async () => {
  const locals: { readonly id: string }[] = [];
  for (let n = 0; n < 3; n++) locals.push(await localIp({ network_id: network }));
  const ran = async (n: number): Promise<number> => {
    const { runs } = h.engine.stats;
    await associate(locals[n]!.id, one!);
    return h.engine.stats.runs - runs;
  };
  await ran(0);
  const few = await ran(1);
  for (let n = 0; n < 6; n++) await plugged("hv1", 20 + n);
  await h.settled();
  expect(await ran(2)).toBe(few);
});
