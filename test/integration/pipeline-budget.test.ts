// How many flow tables a packet passes, both security groups included, as Open vSwitch itself traces it: at most 12 within
// a network and 20 across a router, both hosts together, and at most 2 passes through conntrack on a host.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Hypervisor } from "../../lab/hypervisor.ts";
import { Cloud, type Instance, type Net } from "../support/cloud.ts";

interface Trace {
  readonly lookups: number;
  readonly conntrack: number;
  readonly text: string;
}

/** Follows one packet of a new connection through br-int. */
async function trace(hv: Hypervisor, flow: string): Promise<Trace> {
  const text = await hv.appctl("ofproto/trace", "br-int", flow, "--ct-next", "trk,new", "--ct-next", "trk,new");
  // Only the integration bridge counts: the tunnel goes on through the underlay's own bridge.
  const parts = text.split(/^bridge\("([^"]+)"\)$/m);
  let lookups = 0;
  for (let i = 1; i < parts.length; i += 2) if (parts[i] === "br-int") lookups += [...parts[i + 1]!.matchAll(/^ *\d+\. /gm)].length;
  return { lookups, conntrack: [...text.matchAll(/^recirc\(/gm)].length, text };
}

describe("flow tables passed", () => {
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

  const ofport = async (hv: Hypervisor, i: Instance): Promise<string> => (await hv.vsctl("get", "Interface", i.vm.nic.tap, "ofport")).trim();
  const macOf = (i: Instance): string => i.port.mac_address as string;

  async function path(to: Instance, dstMac: string, net: Net): Promise<{ out: Trace; in: Trace | undefined }> {
    const packet = (src: string, dst: string): string => `tcp,dl_src=${src},dl_dst=${dst},nw_src=${a.ip},nw_dst=${to.ip},nw_ttl=64,tp_src=40000,tp_dst=80`;
    const out = await trace(cloud.hv(1), `in_port=${await ofport(cloud.hv(1), a)},${packet(macOf(a), dstMac)}`);
    if (to === same) return { out, in: undefined };
    const pipeline = await cloud.controller.ops("GET", `/flows?switch=hv2&table=classify&format=json`);
    const flows = (pipeline.body as { flows: { match: string; resources: { id: string }[] }[] }).flows;
    const vni = flows.find((f) => f.match.includes("tun_id") && f.resources.some((r) => r.id === net.network.id))!.match.match(/tun_id=(0x[0-9a-f]+)/)![1]!;
    const tunnel = (await cloud.hv(2).vsctl("get", "Interface", "axion-geneve", "ofport")).trim();
    return { out, in: await trace(cloud.hv(2), `in_port=${tunnel},tun_id=${vni},tun_src=172.31.0.1,tun_dst=172.31.0.2,${packet(macOf(a), macOf(to))}`) };
  }

  const figures = (out: Trace, into: Trace | undefined): string => `${out.lookups}${into === undefined ? "" : ` + ${into.lookups}`} lookups, ${out.conntrack}${into === undefined ? "" : ` + ${into.conntrack}`} conntrack passes`;

  test("on one host", async () => {
    const { out } = await path(same, macOf(same), nets[0]);
    console.log(`one host: ${figures(out, undefined)}`);
    expect(out.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect(out.lookups, out.text).toBeLessThanOrEqual(12);
    expect(out.conntrack).toBeLessThanOrEqual(2);
  });

  test("within a network, between hosts", async () => {
    const { out, in: into } = await path(remote, macOf(remote), nets[0]);
    console.log(`within a network: ${figures(out, into)}`);
    expect(out.text).toContain("tunnel");
    expect(into!.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect(out.lookups + into!.lookups, out.text + into!.text).toBeLessThanOrEqual(12);
    expect(out.conntrack).toBeLessThanOrEqual(1);
    expect(into!.conntrack).toBeLessThanOrEqual(1);
  });

  test("across a router, between hosts", async () => {
    const { out, in: into } = await path(routed, router, nets[1]);
    console.log(`across a router: ${figures(out, into)}`);
    expect(out.text).toContain("tunnel");
    expect(into!.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect(out.lookups + into!.lookups, out.text + into!.text).toBeLessThanOrEqual(20);
  });
});
