// A controller without one of its network functions: no table, flow, route or attribute of it, also over a data directory that
// it was used in before, and all of it again once it is enabled.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ControllerProcess } from "../../support/process.ts";

let controller: ControllerProcess;
const flags: string[] = [];
const id: Record<string, string> = {};

beforeAll(async () => {
  controller = await ControllerProcess.start({ flags });
  id.net = (await controller.create("network", { name: "net" })).id;
  id.subnet = (await controller.create("subnet", { network_id: id.net, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  id.port = (await controller.create("port", { network_id: id.net, extra_dhcp_opts: [{ opt_name: "mtu", opt_value: "1400" }] })).id;
  id.group = (await controller.create("security_group", { name: "group" })).id;
});
afterAll(async () => controller?.destroy());

async function restart(...more: string[]): Promise<void> {
  await controller.stop();
  flags.splice(0, flags.length, ...more);
  await controller.start();
}
const port = async (): Promise<Record<string, unknown>> => (await controller.api("GET", `/v2.0/ports/${id.port}`)).body.port as Record<string, unknown>;
const extensions = async (): Promise<string[]> => (await controller.api("GET", "/v2.0/extensions")).body.extensions.map((e: { alias: string }) => e.alias);
const apps = (): unknown => controller.logged(30).find((entry) => entry.msg === "compiled")?.apps;

test("with all of them, theirs are there", async () => {
  expect(apps()).toEqual(expect.arrayContaining(["dhcp", "security-groups"]));
  expect(await port()).toMatchObject({ extra_dhcp_opts: [{ opt_name: "mtu" }], security_groups: [expect.any(String)] });
  expect(await extensions()).toEqual(expect.arrayContaining(["extra_dhcp_opt", "security-group"]));
});

test("without some, theirs are not: apps, attributes, routes, extensions, and values of theirs are refused as unknown", async () => {
  const before = Object.keys(await port());
  await restart("--disable-app", "dhcp,address-groups,security-groups");
  expect(apps()).toEqual(expect.not.arrayContaining(["dhcp", "security-groups"]));
  const gone = before.filter((name) => ["extra_dhcp_opts", "security_groups", "dns_assignment", "dns_domain", "dns_name"].includes(name));
  expect(gone).toHaveLength(5);
  expect(Object.keys(await port()).sort()).toEqual(before.filter((name) => !gone.includes(name)).sort());
  expect((await controller.api("GET", "/v2.0/security-groups")).status).toBe(404);
  expect((await controller.api("POST", "/v2.0/security-group-rules", {})).status).toBe(404);
  expect(await extensions()).not.toEqual(expect.arrayContaining(["extra_dhcp_opt"]));
  expect(await extensions()).not.toEqual(expect.arrayContaining(["security-group"]));
  const refused = await controller.api("POST", "/v2.0/ports", { port: { network_id: id.net, extra_dhcp_opts: [] } });
  expect([refused.status, refused.text]).toEqual([400, expect.stringContaining("extra_dhcp_opts")]);
  for (const table of ["dhcp_request", "sg_in", "sg_out"]) expect((await controller.ops(`/flows?table=${table}`)).text).toContain(`there is no table '${table}'`);
  expect((await controller.ops("/flows?table=l2_lookup")).status).toBe(200);
  await controller.create("port", { network_id: id.net }); // the rest goes on
});

test("enabled again, what was stored is there", async () => {
  await restart();
  expect(await port()).toMatchObject({ extra_dhcp_opts: [{ opt_name: "mtu", opt_value: "1400" }] });
  expect((await controller.api("GET", `/v2.0/security-groups/${id.group}`)).status).toBe(200);
});

test("what went while an app was not there: what stood on it is taken back when the app is there again, and nothing is in the way", async () => {
  const mine = (await controller.create("port", { network_id: id.net, security_groups: [id.group], extra_dhcp_opts: [{ opt_name: "mtu", opt_value: "1300" }] })).id;
  const router = (await controller.create("router", { name: "r" })).id;
  const { port_id: leg } = (await controller.api("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: id.subnet })).body as { port_id: string };
  expect((await controller.api("DELETE", `/v2.0/security-groups/${id.group}`)).status).toBe(409);
  expect((await controller.api("DELETE", `/v2.0/routers/${router}`)).status).toBe(409);
  await restart("--disable-app", "dhcp,address-groups,security-groups,nat,gateway,l3,conntrack-helpers,ndp-proxy");
  for (const gone of [mine, leg]) expect((await controller.api("DELETE", `/v2.0/ports/${gone}`)).status).toBe(204);
  await restart();
  expect(controller.logged(40).filter((entry) => entry.gone !== undefined).map((entry) => [entry.app, entry.table, entry.gone])).toEqual(
    expect.arrayContaining([["security-groups", "port_groups", `port ${mine}`], ["dhcp", "port_dhcp_opts", `port ${mine}`], ["l3", "router_interface", `port ${leg}`]]),
  );
  expect((await controller.api("DELETE", `/v2.0/security-groups/${id.group}`)).status).toBe(204);
  expect((await controller.api("DELETE", `/v2.0/routers/${router}`)).status).toBe(204);
});
