// Taps on real switches: each frame that a machine sends or gets comes to the taps' ports once, byte for byte, on its host and on another, and to nobody else.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Capture } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { expectQuietRestart } from "../../contract/probes/support.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const PINGS = 20;
/** Both families, and what they ask of neighbours; what kernels say by themselves at any time is left out. */
const FILTER = "arp or icmp or (icmp6 and (ip6[40] == 128 or ip6[40] == 129 or ip6[40] == 135 or ip6[40] == 136))";

/** Frames of a capture as hexadecimal, in no order. */
function framesOf({ lines }: Pick<Capture, "lines">): string[] {
  const frames: string[] = [];
  for (const line of lines) {
    const hex = /^\s+0x[0-9a-f]+:\s+([0-9a-f ]+)/.exec(line)?.[1];
    if (hex === undefined) frames.push("");
    else frames.push((frames.pop() ?? "") + hex.replaceAll(" ", ""));
  }
  return frames.sort();
}

/** What GRE carries of an outer frame (RFC 2890) and by which id: a key, or of ERSPAN type II a session (draft-foschiano-erspan section 4.1). */
function carried(frame: string): { readonly type: "gre" | "erspan" | undefined; readonly id: number; readonly inner: string } {
  const gre = frame.slice(2 * (14 + 20));
  if (gre.startsWith("20006558")) return { type: "gre", id: parseInt(gre.slice(8, 16), 16), inner: gre.slice(16) };
  if (gre.startsWith("100088be") && gre[16] === "1") return { type: "erspan", id: parseInt(gre.slice(20, 24), 16) & 0x3ff, inner: gre.slice(32) };
  return { type: undefined, id: 0, inner: "" };
}

describe.skipIf(Lab.missing().length > 0)("taps", () => {
  let cloud: Cloud;
  let net: Net;
  let six: string;
  let [a, b, near, far, beside] = [] as unknown as [Instance, Instance, Instance, Instance, Instance];
  const made = async (what: "tap_service" | "tap_flow" | "tap_mirror", values: object): Promise<Resource> => {
    const { status, body } = await cloud.call("POST", `/v2.0/taas/${what}s`, { [what]: values });
    expect(status, JSON.stringify(body)).toBe(201);
    return body[what]! as Resource;
  };
  const active = async (what: string, { id }: Resource): Promise<unknown> => until(`${what} ${id}`, async () => ((await cloud.call("GET", `/v2.0/taas/${what}s/${id}`)).body[what]! as Resource).status === "ACTIVE");
  const capture = ({ vm }: Instance, how = ""): Promise<Capture> => vm.tcpdump(`-xx ${how} ${FILTER}`);

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "taps", flags: ["--audit-interval", "1"] });
    net = await cloud.network("10.0.0.0/24");
    await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00::/64" });
    // Ports without addresses, each alone on a network but for one machine that is not to hear anything.
    const quiet = [await cloud.create("network", {}), await cloud.create("network", {})];
    const listening = (host: number, network: Resource): Promise<Instance> => cloud.instance(cloud.hv(host), { network, subnet: {} as Resource });
    [a, b] = [await cloud.instance(cloud.hv(1), net), await cloud.instance(cloud.hv(2), net)];
    [near, far, beside] = [await listening(1, quiet[0]!), await listening(2, quiet[1]!), await listening(1, quiet[0]!)];
    for (const { vm, port } of [a, b]) await vm.setAddress(`${(port.fixed_ips as { ip_address: string }[])[1]!.ip_address}/64`);
    six = (b.port.fixed_ips as { ip_address: string }[])[1]!.ip_address;
    for (const ip of [b.ip, six]) await until(`${ip} to answer`, async () => (await a.vm.ping(ip, { count: 1 })).received === 1);
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  test("what a machine sends and gets comes to taps on its host and on another, once each and unchanged; a tap that is tapped repeats nothing", async () => {
    const services = [await made("tap_service", { port_id: near.port.id }), await made("tap_service", { port_id: far.port.id })];
    const flows = [];
    for (const { id } of services) flows.push(await made("tap_flow", { tap_service_id: id, source_port: a.port.id, direction: "BOTH" }));
    flows.push(await made("tap_flow", { tap_service_id: services[1]!.id, source_port: near.port.id, direction: "BOTH" }));
    for (const flow of flows) await active("tap_flow", flow);
    await cloud.renewed();
    // So they ask each other anew, and not while captures begin.
    for (const { vm } of [a, b]) await vm.exec(["ip", "neigh", "flush", "all"]);
    const [atNear, atFar, atBeside, atSource] = [await capture(near, "-Q in"), await capture(far, "-Q in"), await capture(beside), await capture(a)];
    expect((await a.vm.ping(b.ip, { count: PINGS })).received).toBe(PINGS);
    expect((await a.vm.ping(six, { count: PINGS })).received).toBe(PINGS);
    expect((await b.vm.ping(a.ip, { count: PINGS })).received).toBe(PINGS);
    await until("the same frames", () => Promise.resolve([atNear, atFar].every((tap) => framesOf(tap).join() === framesOf(atSource).join())), { timeoutMs: 5000 }).catch(() => undefined);
    const sent = framesOf(atSource);
    expect(sent.length).toBeGreaterThanOrEqual(3 * 2 * PINGS + 4);
    for (const tap of [atNear, atFar]) expect(framesOf(tap)).toEqual(sent);
    for (const kind of [/^.{24}0806/, /^.{24}86dd.{80}87/]) expect(sent.some((frame) => kind.test(frame))).toBe(true);
    expect(framesOf(atBeside)).toEqual([]);
    for (const one of [atNear, atFar, atBeside, atSource]) await one.stop();
    expect(await cloud.differences()).toBe("");
    // A copy is nothing that anybody was sent.
    interface Traced { readonly verdict: string; readonly delivered: readonly object[]; readonly notes: readonly string[] }
    const trace = async (to: string): Promise<Traced> => (await cloud.controller.ops<Traced>("POST", "/trace", { from: a.port.id, to, protocol: "icmp" })).body;
    expect(await trace(b.port.id)).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv2", id: b.port.id }], notes: [expect.stringContaining("a copy leaves hv1"), expect.stringContaining("a copy leaves hv2")] });
    expect(await trace(b.ip.replace(/\d+$/, "200"))).toMatchObject({ verdict: "dropped", delivered: [] });

    // Of one direction alone, and of nothing any more.
    for (const { id } of flows) await cloud.call("DELETE", `/v2.0/taas/tap_flows/${id}`);
    await active("tap_flow", await made("tap_flow", { tap_service_id: services[1]!.id, source_port: a.port.id, direction: "IN" }));
    await cloud.renewed();
    const [then, thenNear] = [await capture(far, "-Q in"), await capture(near, "-Q in")];
    expect((await a.vm.ping(b.ip, { count: 5 })).received).toBe(5);
    await until("answers", () => Promise.resolve(then.lines.filter((l) => l.includes("ICMP echo reply")).length === 5));
    expect(then.lines.filter((l) => l.includes("ICMP echo request"))).toEqual([]);
    expect(framesOf(thenNear)).toEqual([]);
    for (const one of [then, thenNear]) await one.stop();
  }, 120_000);

  test("what a machine sends and gets comes by GRE and by ERSPAN to a machine outside, unchanged, each direction by the tunnel that is its own", async () => {
    const collector = "172.31.0.254";
    const lines: string[] = [];
    const running = cloud.lab.underlayNode.spawn(["tcpdump", "-l", "-n", "-xx", "--immediate-mode", "-i", "bru", "proto", "47", "and", "dst", "host", collector], { onLine: (line) => { if (!line.startsWith("tcpdump")) lines.push(line); } });
    await running.waitFor(/listening on/);
    const [one, both] = [await made("tap_mirror", { port_id: a.port.id, remote_ip: collector, mirror_type: "gre", directions: { IN: 101, OUT: 0xfedcba98 } }), await made("tap_mirror", { port_id: a.port.id, remote_ip: collector, mirror_type: "erspanv1", directions: { BOTH: 1023 } })];
    await until("tunnels", async () => (await cloud.hv(1).vsctl("--bare", "--columns=ofport", "find", "Interface", "options:remote_ip=172.31.0.254")).split("\n").filter((l) => Number(l) > 0).length === 3);
    await cloud.renewed();
    // The first packets of a tunnel of the userspace datapath make the host ask for the MAC of its end, and are lost.
    await until("the first copies", async () => (await a.vm.ping(b.ip, { count: 1, sizeBytes: 40 })).received === 1 && new Set(framesOf({ lines }).map((f) => carried(f).id)).size >= 3);
    const atSource = await capture(a, "icmp or");
    const since = lines.length;
    for (const ip of [b.ip, six]) expect((await a.vm.ping(ip, { count: PINGS })).received).toBe(PINGS);
    // Echoes alone: kernels ask for routers whenever they like. And by their length those of the pings that follow: copies of the last one before may be under way.
    const of = (frames: string[]): string[] => frames.filter((f) => /^.{24}(080045000054.{10}01|86dd.{8}00403a.{66}8[01])/.test(f)).sort();
    const copies = (type: string, ...ids: number[]): string[] => of(framesOf({ lines: lines.slice(since) }).map(carried).filter((c) => c.type === type && ids.includes(c.id)).map((c) => c.inner));
    await until("the same frames", () => Promise.resolve(copies("erspan", 1023).length >= 4 * PINGS && copies("gre", 101, 0xfedcba98).length >= 4 * PINGS), { timeoutMs: 5000 }).catch(() => undefined);
    const seen = of(framesOf(atSource));
    expect(seen).toHaveLength(4 * PINGS);
    expect(copies("gre", 101, 0xfedcba98)).toEqual(seen);
    expect(copies("erspan", 1023)).toEqual(seen);
    const sentBy = (mac: string): string[] => seen.filter((f) => f.slice(12, 24) === mac.replaceAll(":", ""));
    expect(copies("gre", 0xfedcba98)).toEqual(sentBy(a.port.mac_address as string));
    expect(copies("gre", 101)).toHaveLength(2 * PINGS);
    expect(await cloud.differences()).toBe("");
    // One of the taps before is there as well.
    await expectQuietRestart(cloud);
    for (const { id } of [one, both]) expect((await cloud.call("DELETE", `/v2.0/taas/tap_mirrors/${id}`)).status).toBe(204);
    await until("no tunnel left", async () => (await cloud.hv(1).vsctl("--bare", "--columns=name", "find", "Interface", "options:remote_ip=172.31.0.254")).trim() === "");
    await atSource.stop();
    await running.stop("SIGINT");
  }, 120_000);
});
