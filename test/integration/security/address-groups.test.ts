// Rules whose other side is an address group: prefixes that overlap, that come and go one by one, and the one that is everybody.
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
let group: Resource;
let servers: Resource;
let server: Instance;
/** 10.0.0.10 on the server's host, 10.0.0.20 and fd00:1::20 on the other. */
let near: Instance;
let far: Instance;
const PORT = 80;
const SIX = { server: "fd00:1::5", near: "fd00:1::10", far: "fd00:1::20" } as const;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "address-groups.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  [servers, group] = await Promise.all([cloud.create("security_group", { name: "servers" }), cloud.create("address_group", { name: "clients" })]);
  const at = async (hv: number, four: string, six: string, groups?: readonly string[]): Promise<Instance> => {
    const made = await cloud.instance(cloud.hv(hv), net, { port: { fixed_ips: [{ ip_address: four }, { ip_address: six }], ...(groups && { security_groups: groups }) } });
    await made.vm.exec(["ip", "addr", "add", `${six}/64`, "dev", "eth0", "nodad"], { allowFailure: true });
    return made;
  };
  server = await at(1, "10.0.0.5", SIX.server, [servers.id]);
  near = await at(1, "10.0.0.10", SIX.near);
  far = await at(2, "10.0.0.20", SIX.far);
  await server.vm.listen(PORT);
});
afterAll(async () => cloud?.destroy());

/** Who gets to the server, by either family. */
async function reaching(): Promise<string[]> {
  await cloud.synced();
  const tries = ([["near", near], ["far", far]] as const).flatMap(([name, { vm }]) => [["10.0.0.5", ""], [SIX.server, " 6"]].map(async ([to, family]) => ((await vm.connectTcp(to!, PORT, 700)) ? [`${name}${family}`] : [])));
  return (await Promise.all(tries)).flat();
}
async function change(action: "add" | "remove", ...addresses: string[]): Promise<void> {
  expect((await cloud.call("PUT", `/v2.0/address-groups/${group.id}/${action}_addresses`, { addresses })).status).toBe(200);
}

test("who has an address of the group gets in, as addresses come and go", async () => {
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: servers.id, direction: "ingress", protocol: "tcp", port_range_min: PORT, port_range_max: PORT, ethertype, remote_address_group_id: group.id });
  expect(await reaching()).toEqual([]);
  await change("add", "10.0.0.20/32", `${SIX.near}/128`);
  expect(await reaching()).toEqual(["near 6", "far"]);
  // Two that overlap: each holds without the other.
  await change("add", "10.0.0.16/28", "10.0.0.8/29");
  expect(await reaching()).toEqual(["near", "near 6", "far"]);
  await change("remove", "10.0.0.20/32");
  expect(await reaching()).toEqual(["near", "near 6", "far"]);
  await change("remove", "10.0.0.16/28", `${SIX.near}/128`);
  expect(await reaching()).toEqual(["near"]);
  await change("remove", "10.0.0.8/29");
  expect(await reaching()).toEqual([]);
});

test("everybody, by a rule for all protocols", async () => {
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: servers.id, direction: "ingress", ethertype, remote_address_group_id: group.id });
  expect(await reaching()).toEqual([]);
  await change("add", "0.0.0.0/0", "::/0");
  expect(await reaching()).toEqual(["near", "near 6", "far", "far 6"]);
  expect(await near.vm.reaches("10.0.0.5")).toBe(true);
  await change("remove", "0.0.0.0/0", "::/0");
  expect(await reaching()).toEqual([]);
  expect(await cloud.differences()).toBe("");
});
