// Traces of what machines ask DHCP for: that it is answered, and why it is not.
import { afterEach, beforeEach, expect, test } from "vitest";
import { askOf } from "#app";
import { allTables } from "../../src/boot/registry.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { requestOf } from "../../src/ops/trace/request.ts";
import { Tracer, type OneWay } from "../../src/ops/trace/tracer.ts";
import { Harness } from "../support/harness.ts";

let h: Harness;
let tracer: Tracer;
type Body = Readonly<Record<string, unknown>>;
const asks = (from: string, more: Body = {}): Promise<OneWay> => tracer.trace(requestOf({ state: "desired", from, to: "255.255.255.255", protocol: "udp", port: 67, source_port: 68, source: "0.0.0.0", ...more }));
const asks6 = (from: string): Promise<OneWay> => tracer.trace(requestOf({ state: "desired", from, to: "ff02::1:2", protocol: "udp", port: 547, source_port: 546 }));

let network: string;
async function port(ofport: number, more: Body = {}): Promise<{ readonly id: string; readonly mac_address: string }> {
  const made = await h.create("port", { network_id: network, project_id: "p", ...more });
  await h.plug("hv1", made.id, ofport);
  await h.settled();
  return made as never;
}
const subnet = async (more: Body): Promise<string> => (await h.create("subnet", { network_id: network, project_id: "p", ...more })).id;
/** Makes the call that helps, as it is. */
async function help({ cause }: OneWay): Promise<void> {
  const { method, path, body } = cause!.cure.call!;
  expect((await h.call(method as "PUT", path, body as Body)).status).toBe(200);
  await h.settled();
}
const ANSWERED = { verdict: "delivered", delivered: [{ switch: "hv1", port: "CONTROLLER" }], cause: null };

beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const guard = hookGuard({ error: (fields: object): void => void h.complaints.push(fields) }, () => 0);
  tracer = new Tracer({ apps: h.apps, tables: allTables(h.apps), view: h.view, engine: h.engine, layout: h.layout, guard, ask: askOf(h.apps), clock: h.clock });
  network = (await h.create("network", { project_id: "p" })).id;
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test.each([["alone", 0], ["beside others, whose groups let nothing in", 2]])("a subnet without DHCP is why nobody answers a port that is there %s", async (_, others) => {
  const v4 = await subnet({ ip_version: 4, cidr: "10.0.1.0/24", enable_dhcp: false });
  const asker = await port(1);
  for (let n = 0; n < others; n++) await port(2 + n);
  const found = await asks(asker.id);
  expect(found).toMatchObject({
    verdict: "dropped",
    cause: { reason: "no_dhcp", resources: [{ type: "port", id: asker.id }, { type: "subnet", id: v4 }], cure: { call: { method: "PUT", path: `/v2.0/subnets/${v4}`, body: { subnet: { enable_dhcp: true } } } } },
  });
  expect(found.cause!.text).toContain(v4);
  await help(found);
  expect(await asks(asker.id)).toMatchObject(ANSWERED);
});

test("of other packets to all that is no reason", async () => {
  await subnet({ ip_version: 4, cidr: "10.0.1.0/24", enable_dhcp: false });
  const asker = await port(1);
  await port(2);
  expect((await asks(asker.id, { source_port: 69 })).cause!.reason).not.toBe("no_dhcp");
  expect((await asks(asker.id, { port: 68 })).cause!.reason).not.toBe("no_dhcp");
});

test("a port without an address of IPv4 is told nothing", async () => {
  await subnet({ ip_version: 6, cidr: "fd00:1::/64" });
  const asker = await port(1);
  const { cause } = await asks(asker.id);
  expect(cause).toMatchObject({ reason: "no_dhcp", resources: [{ type: "port", id: asker.id }] });
  expect(cause!.cure.call).toBeUndefined();
});

test("DHCPv6 is a subnet's by its mode, which is chosen when it is made", async () => {
  const v6 = await subnet({ ip_version: 6, cidr: "fd00:1::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  const asker = await port(1);
  await port(2);
  const { cause } = await asks6(asker.id);
  expect(cause).toMatchObject({ reason: "no_dhcp", resources: [{ type: "port", id: asker.id }, { type: "subnet", id: v6 }] });
  expect(cause!.text).toContain("slaac");
  expect(cause!.cure.call).toBeUndefined();
});

test("DHCPv6 is answered where the mode is one of its own", async () => {
  await subnet({ ip_version: 6, cidr: "fd00:1::/64", ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" });
  expect(await asks6((await port(1)).id)).toMatchObject(ANSWERED);
});

test.each([true, false])("asked from another MAC than the port's no address pair helps, and none is offered (DHCP: %s)", async (enable_dhcp) => {
  await subnet({ ip_version: 4, cidr: "10.0.1.0/24", enable_dhcp });
  const asker = await port(1);
  const source_mac = "52:54:00:00:00:01";
  const { cause } = await asks(asker.id, { source_mac });
  expect(cause).toMatchObject({ reason: "port_security", resources: [{ type: "port", id: asker.id }] });
  for (const named of [source_mac, asker.mac_address]) expect(cause!.text).toContain(named);
  expect(cause!.cure.text).toContain(asker.mac_address);
  expect(cause!.cure.call).toBeUndefined();
  // Nor once there is one.
  expect((await h.call("PUT", `/v2.0/ports/${asker.id}`, { port: { allowed_address_pairs: [{ ip_address: "0.0.0.0", mac_address: source_mac }] } })).status).toBe(200);
  await h.settled();
  expect((await asks(asker.id, { source_mac })).cause).toEqual(cause);
});

test("of the port's own MAC nothing but DHCP is sent without an address", async () => {
  await subnet({ ip_version: 4, cidr: "10.0.1.0/24" });
  const asker = await port(1);
  const { cause } = await asks(asker.id, { port: 53 });
  expect(cause).toMatchObject({ reason: "port_security" });
  expect(cause!.text).toContain("without an address");
  expect(cause!.cure.call).toBeUndefined();
});
