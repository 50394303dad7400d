// How many flow tables a packet passes, both security groups included, as Open vSwitch itself traces it: at most 12 within
// a network and 16 across a router, both hosts together, and at most 2 passes through conntrack on a host. The first packet of
// a connection, which each policy remembers, passes one of each more for each policy.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { tracePath, type Path, type Trace } from "../../support/trace/trace.ts";

describe("flow tables passed", () => {
  const kinds = [["est", 0], ["new", 1]] as const;
  let cloud: Cloud;
  let nets: readonly [Net, Net];
  let router: string;
  let a: Instance;
  let same: Instance;
  let remote: Instance;
  let routed: Instance;

  beforeAll(async () => {
    cloud = await Cloud.create({ hypervisors: 2 });
    nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
    await cloud.router(nets);
    const gateway = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[0].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string }[] };
    router = gateway.ports[0]!.mac_address;
    a = await cloud.instance(cloud.hv(1), nets[0]);
    same = await cloud.instance(cloud.hv(1), nets[0]);
    remote = await cloud.instance(cloud.hv(2), nets[0]);
    routed = await cloud.instance(cloud.hv(2), nets[1]);
  });
  afterAll(async () => {
    await cloud.lab.destroy();
  });

  const macOf = (i: Instance): string => i.port.mac_address as string;
  const path = (to: Instance, dstMac: string, net: Net, connection: "new" | "est"): Promise<Path> => tracePath(cloud, { from: [1, a], to: [to === same ? 1 : 2, to], dstMac, net, connection });

  const figures = (out: Trace, into: Trace | undefined): string => `${out.lookups}${into === undefined ? "" : ` + ${into.lookups}`} lookups, ${out.conntrack}${into === undefined ? "" : ` + ${into.conntrack}`} conntrack passes`;

  test.each(kinds)("on one host, %s", async (connection, more) => {
    const { out } = await path(same, macOf(same), nets[0], connection);
    console.log(`one host, ${connection}: ${figures(out, undefined)}`);
    expect(out.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect(out.lookups, out.text).toBeLessThanOrEqual(12 + 2 * more);
    expect(out.conntrack).toBeLessThanOrEqual(2 + 2 * more);
  });

  test.each(kinds)("within a network, between hosts, %s", async (connection, more) => {
    const { out, in: into } = await path(remote, macOf(remote), nets[0], connection);
    console.log(`within a network, ${connection}: ${figures(out, into)}`);
    expect(out.text).toContain("tunnel");
    expect(into!.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect(out.lookups + into!.lookups, out.text + into!.text).toBeLessThanOrEqual(12 + 2 * more);
    expect(out.conntrack).toBeLessThanOrEqual(1 + more);
    expect(into!.conntrack).toBeLessThanOrEqual(1 + more);
  });

  test.each(kinds)("across a router, between hosts, %s", async (connection, more) => {
    const { out, in: into } = await path(routed, router, nets[1], connection);
    console.log(`across a router, ${connection}: ${figures(out, into)}`);
    expect(out.text).toContain("tunnel");
    expect(into!.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect(out.lookups + into!.lookups, out.text + into!.text).toBeLessThanOrEqual(16 + 2 * more);
  });
});
