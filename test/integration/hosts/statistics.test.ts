// Statistics on real switches: what a port has sent and received is what tcpdump sees at its machine, what routers and floating IPs count is what was sent through
// them; and it goes on over a move to another host, a machine plugged anew and a controller that was killed.
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Capture } from "../../../lab/guest.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const UNASKED = fileURLToPath(new URL("unasked.py", import.meta.url));

type Counts = Readonly<Record<"received" | "sent" | "routed", { readonly packets: number; readonly bytes: number }>> & { readonly complete: boolean };

describe.skipIf(Lab.missing().length > 0)("statistics", () => {
  let cloud: Cloud;
  let [one, two]: Net[] = [];
  let router: Resource;
  let [a, b, machine]: Instance[] = [];
  let floating: Resource;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "statistics", host: (n) => (n === 2 ? { gateway: true } : {}) });
    const network = await cloud.create("network", { "router:external": true });
    const outside = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24" }) };
    [one, two] = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
    router = await cloud.router([one, two]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: network.id } });
    // Without port security no policy has part in who gets what.
    const open = { port: { port_security_enabled: false } };
    [a, b, machine] = [await cloud.instance(cloud.hv(1), one, open), await cloud.instance(cloud.hv(2), two, open), await cloud.instance(cloud.hv(2), outside, open)];
    floating = await cloud.create("floatingip", { floating_network_id: network.id, port_id: a.port.id });
    await cloud.synced();
    await until("an answer across the router", () => a!.vm.reaches(b!.ip), { timeoutMs: 20_000 });
    await until("an answer of the floating IP", () => machine!.vm.reaches(floating.floating_ip_address as string), { timeoutMs: 20_000 });
    await cloud.renewed();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function statistics(type: string, { id }: Resource): Promise<Counts> {
    const { status, body } = await cloud.call("GET", `/v2.0/${type}s/${id}?fields=axion:statistics`);
    expect(status).toBe(200);
    return (body[type] as unknown as { "axion:statistics": Counts })["axion:statistics"];
  }
  /** Until they do not change; switches count with a delay. */
  async function still(type: string, of: Resource): Promise<Counts> {
    let last = "";
    await until("counters that stand still", async () => {
      const { received, sent, routed, complete } = await statistics(type, of);
      const now = JSON.stringify({ received, sent, routed, complete });
      const same = last === now && complete;
      last = now;
      return same;
    }, { timeoutMs: 20_000, intervalMs: type === "port" ? 1100 : 1500 });
    return JSON.parse(last) as Counts;
  }
  const becomes = (type: string, of: Resource, what: "received" | "sent" | "routed", packets: number): Promise<unknown> => {
    let last: unknown;
    return until(`${what} ${packets}`, async () => (last = (await statistics(type, of))[what].packets) === packets, { timeoutMs: 10_000, intervalMs: 300 }).catch((error: unknown) => {
      throw new Error(`${type} ${(error as Error).message}: ${JSON.stringify(last)}`);
    });
  };
  async function ping(count: number): Promise<void> {
    expect((await a!.vm.ping(b!.ip, { count })).received).toBe(count);
  }

  test("a port counts what tcpdump sees at its machine, bytes and all; the router each packet once, wherever it came from", async () => {
    const { mac_address: mac } = b!.port;
    const [port, routed] = [await still("port", b!.port), await still("router", router)];
    const [received, sent] = await Promise.all([b!.vm.tcpdump(`not ether src ${mac}`), b!.vm.tcpdump(`ether src ${mac}`)]);
    await ping(20);
    await until("what tcpdump saw", async () => {
      const now = await statistics("port", b!.port);
      return received.lines.length >= 20 && now.received.packets - port.received.packets === received.lines.length && now.sent.packets - port.sent.packets === sent.lines.length;
    }, { timeoutMs: 10_000, intervalMs: 300 });
    const bytes = (lines: readonly string[]): number => lines.reduce((sum, line) => sum + Number(/length (\d+):/.exec(line)![1]), 0);
    const now = await statistics("port", b!.port);
    expect([now.received.bytes - port.received.bytes, now.sent.bytes - port.sent.bytes]).toEqual([bytes(received.lines), bytes(sent.lines)]);
    await Promise.all([received.stop(), sent.stop()]);
    // There and back.
    await becomes("router", router, "routed", routed.routed.packets + 40);
  }, 60_000);

  test("a floating IP counts what comes for it, and what leaves in its name", async () => {
    const before = await still("floatingip", floating);
    expect((await machine!.vm.ping(floating.floating_ip_address as string, { count: 5 })).received).toBe(5);
    await becomes("floatingip", floating, "received", before.received.packets + 5);
    await becomes("floatingip", floating, "sent", before.sent.packets + 5);
    expect((await a!.vm.ping(machine!.ip, { count: 4 })).received).toBe(4);
    await becomes("floatingip", floating, "received", before.received.packets + 9);
    await becomes("floatingip", floating, "sent", before.sent.packets + 9);
  }, 60_000);

  test("what leaves by a floating IP of a connection that another host knows is counted too, by a forwarded port as well", async () => {
    const forwarded = await cloud.create("floatingip", { floating_network_id: floating.floating_network_id });
    const forwardings = `/v2.0/floatingips/${forwarded.id}/port_forwardings`;
    const { status, body } = await cloud.call("POST", forwardings, { port_forwarding: { protocol: "tcp", internal_port_id: b!.port.id, internal_ip_address: b!.ip, internal_port: 80, external_port: 8080 } });
    expect(status).toBe(201);
    await until("the forwarded port's floating IP", async () => (await cloud.show("floatingip", forwarded.id)).status === "ACTIVE", { timeoutMs: 10_000 });
    await cloud.synced();
    for (const [of, from, what, filter] of [[floating, a!, "echo-reply", "icmp[icmptype] == icmp-echoreply"], [forwarded, b!, "syn-ack", "tcp src port 8080"]] as const) {
      const address = of.floating_ip_address as string;
      const before = await still("floatingip", of);
      const seen = await machine!.vm.tcpdump(`src host ${address} and ${filter}`);
      await from.vm.exec(["python3", UNASKED, what, from.ip, machine!.ip, "7"]);
      await until("all have come", () => Promise.resolve(seen.lines.length === 7), { timeoutMs: 5000 });
      await becomes("floatingip", of, "sent", before.sent.packets + 7);
      await seen.stop();
    }
    const { id } = body.port_forwarding as unknown as Resource;
    expect((await cloud.call("DELETE", `${forwardings}/${id}`)).status).toBe(204);
    await cloud.remove("floatingip", forwarded.id);
  }, 60_000);

  test("a floating IP that is taken away, or goes to a machine on another host, has counted what tcpdump saw, to the packet, with no look between", async () => {
    const address = floating.floating_ip_address as string;
    const before = await still("floatingip", floating);
    const seen = await Promise.all([a!, b!].map(({ vm }) => vm.tcpdump(`icmp[icmptype] == icmp-echo and src host ${machine!.ip}`)));
    const captured = (): number => seen.reduce((sum, { lines }) => sum + lines.length, 0);
    // As of the looks that are taken anyway.
    const known: number[] = [];
    let over = false;
    const watching = (async () => {
      while (!over) {
        const { body } = await cloud.controller.ops<{ received: { packets: number } }[]>("GET", `/statistics?type=floatingip&id=${floating.id}`);
        known.push(body[0]!.received.packets);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    /** What flows of the floating IP have on all switches: asked of these, so none is looked at for that. */
    const onSwitches = async (): Promise<number> => {
      const { flows } = (await cloud.controller.ops<{ flows: { packet_count?: number }[] }>("GET", `/flows?resource=${floating.id}&table=nat_in&stats=1`)).body;
      return flows.reduce((sum, { packet_count = 0 }) => sum + packet_count, 0);
    };
    const at = async (port_id: string | null): Promise<void> => {
      await cloud.update("floatingip", floating.id, { port_id });
      await cloud.synced();
      if (port_id !== null) await until("an answer of the floating IP", () => machine!.vm.reaches(address), { timeoutMs: 20_000 });
    };
    let [had, saw] = [await onSwitches(), 0];
    for (const [next, then] of [[null, a!.port.id], [b!.port.id, undefined], [a!.port.id, undefined]] as const) {
      expect((await machine!.vm.ping(address, { count: 5 })).received).toBe(5);
      // Switches count with a delay. Flows that come begin at 0.
      await until("what tcpdump saw, on the switches", async () => (await onSwitches()) - had === captured() - saw, { timeoutMs: 10_000, intervalMs: 100 });
      [had, saw] = [0, captured()];
      await at(next);
      if (then !== undefined) await at(then);
    }
    over = true;
    await watching;
    const counted = async (): Promise<number> => (await statistics("floatingip", floating)).received.packets - before.received.packets;
    await until("what tcpdump saw", async () => (await counted()) === captured(), { timeoutMs: 10_000, intervalMs: 300 }).catch(async (error: unknown) => {
      throw new Error(`${(error as Error).message}: ${captured()}; counted ${await counted()}`);
    });
    expect(known).toEqual(known.toSorted((x, y) => x - y));
    // What comes while it is taken away: Open vSwitch gives what its datapath let pass last to the flow that comes after.
    const often = machine!.vm.pingStart(address, { intervalMs: 20 });
    await until("many answers", () => Promise.resolve(often.received > 100));
    await at(null);
    await often.stop();
    await at(a!.port.id);
    const lost = captured() - (await still("floatingip", floating)).received.packets + before.received.packets;
    console.log(`statistics: of pings every 20 ms a floating IP that is taken away takes ${lost} with it`);
    expect(Math.abs(lost)).toBeLessThanOrEqual(150);
    for (const capture of seen) await capture.stop();
  }, 90_000);

  /** Sees what comes in and goes out by an interface of a machine, whatever becomes of the other end. */
  class Seen {
    private readonly captures: { readonly received: Capture; readonly sent: Capture }[] = [];

    async by({ vm }: Instance, device: string): Promise<void> {
      const [received, sent] = await Promise.all(["not ether src", "ether src"].map((which) => vm.tcpdump(`${which} ${vm.mac}`, { device })));
      this.captures.push({ received: received!, sent: sent! });
    }
    get counts(): readonly [received: number, sent: number] {
      const sum = (of: "received" | "sent"): number => this.captures.reduce((all, capture) => all + capture[of].lines.length, 0);
      return [sum("received"), sum("sent")];
    }
    async stop(): Promise<void> {
      for (const { received, sent } of this.captures) await Promise.all([received.stop(), sent.stop()]);
    }
  }
  /** What it says by itself is not to come while its interface is moved. */
  const quiet = async (...vms: readonly Vm[]): Promise<void> => {
    for (const vm of vms) await vm.sysctl("net.ipv6.conf.all.disable_ipv6=1");
  };

  test("over a move to another host, a machine plugged anew, a restart and a kill totals are what tcpdump saw at the machine, and what was routed, to the packet", async () => {
    await quiet(a!.vm, b!.vm);
    const [port, routed] = [await still("port", b!.port), await still("router", router)];
    const capture = new Seen();
    await capture.by(b!, "eth0");
    let [pings, others] = [0, 0];
    const more = async (count: number): Promise<void> => {
      await ping(count);
      pings += count;
    };
    let last = [0, 0];
    const equal = async (when: string): Promise<void> => {
      let counts: number[] = [];
      await until(`${when}: what tcpdump saw`, async () => {
        const { received, sent } = await statistics("port", b!.port);
        counts = [received.packets - port.received.packets, sent.packets - port.sent.packets];
        // Never less than before.
        expect(counts.map((n, i) => Math.min(n, last[i]!)), when).toEqual(last);
        last = counts;
        return JSON.stringify(counts) === JSON.stringify(capture.counts) && counts[0]! >= pings;
      }, { timeoutMs: 15_000, intervalMs: 300 }).catch((error: unknown) => {
        throw new Error(`${(error as Error).message}, ${JSON.stringify(capture.counts)}; counted ${JSON.stringify(counts)}`);
      });
      await becomes("router", router, "routed", routed.routed.packets + 2 * (pings + others));
    };
    await more(10);
    await equal("before it moves");
    // Where it moves to it has another device.
    await b!.vm.nic.unplug();
    const { port: of, vm, ip } = b!;
    const there = await vm.addNic({ hypervisor: cloud.hv(1), portId: of.id, mac: vm.mac, mtu: two!.network.mtu as number });
    await capture.by(b!, there.device);
    await vm.configure("link set eth0 down", "addr flush dev eth0", `addr add ${ip}/24 dev ${there.device}`, `route replace default via ${two!.subnet.gateway_ip as string} dev ${there.device}`);
    await cloud.active(of.id);
    await cloud.renewed();
    await more(10);
    await equal("at another host");
    await there.unplug();
    await until("the port to be DOWN", async () => (await cloud.show("port", b!.port.id)).status === "DOWN");
    await equal("while it is nowhere");
    await there.plug();
    await cloud.active(b!.port.id);
    await cloud.renewed();
    await more(10);
    await equal("plugged anew");
    const outside = await still("floatingip", floating);
    for (const [n, end] of (["stop", "kill9"] as const).entries()) {
      await cloud.controller[end]();
      await more(10);
      expect((await machine!.vm.ping(floating.floating_ip_address as string, { count: 5 })).received).toBe(5);
      others += 5;
      await cloud.controller.restart();
      await cloud.synced();
      await more(10);
      await equal(`after a ${end}`);
      for (const counter of ["received", "sent"] as const) await becomes("floatingip", floating, counter, outside[counter].packets + 5 * (n + 1));
    }
    // Nobody is told before an interface goes: what it counts after the last answer of its switch, a second before, is lost. Three on a busy machine.
    const often = a!.vm.pingStart(b!.ip, { intervalMs: 20 });
    await until("many answers", () => Promise.resolve(often.received > 100));
    await there.unplug();
    await often.stop();
    await until("the port to be DOWN", async () => (await cloud.show("port", b!.port.id)).status === "DOWN");
    const end = await still("port", b!.port);
    const lost = [end.received.packets - port.received.packets, end.sent.packets - port.sent.packets].map((counted, i) => capture.counts[i]! - counted);
    console.log(`statistics: of pings every 20 ms an interface that is unplugged takes ${lost.join(" and ")} with it, received and sent`);
    for (const n of lost) expect(n).toBeGreaterThanOrEqual(0);
    for (const n of lost) expect(n).toBeLessThanOrEqual(150);
    await capture.stop();
    const { body } = await cloud.controller.ops<{ id: string; received: { packets: number } }[]>("GET", `/statistics?type=port&id=${b!.port.id}`);
    expect(body.map(({ id, received }) => [id, received.packets])).toEqual([[b!.port.id, end.received.packets]]);
  }, 120_000);
});
