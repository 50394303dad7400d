// For the tests of what the app does by itself: two hosts of gateways and one that uses them, an external network, and a router with a gateway there.
import { parsePacket } from "packet-codec";
import { expect } from "vitest";
import { learned, observedId, observedTable } from "#app";
import { Harness, type HarnessOptions } from "../../test/support/harness.ts";
import { gatewayPlanTable, gatewayReadyTable, peerPortName, type GatewayPlan } from "./model.ts";

export const HOSTS = ["gw1", "gw2"];
/** Of a next hop outside. */
export const UPSTREAM = "02:00:00:00:00:fe";
export const other = (host: string): string => HOSTS.find((x) => x !== host)!;

export class Gateways {
  h: Harness;
  outside = "";
  router = "";
  /** Hosts whose switches take what they are told. */
  readonly synced = new Set<string>();

  private constructor(h: Harness) {
    this.h = h;
  }

  static async make(options: HarnessOptions = {}): Promise<Gateways> {
    const made = new Gateways(await Harness.make([], undefined, options));
    const { h } = made;
    for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: true });
    await h.addChassis("hv1", { key: 3 });
    made.outside = (await h.create("network", { "router:external": true })).id;
    await h.create("subnet", { network_id: made.outside, ip_version: 4, cidr: "203.0.113.0/24" });
    made.router = (await h.create("router", { external_gateway_info: { network_id: made.outside, enable_snat: false } })).id;
    await h.settled();
    return made;
  }

  async end(): Promise<void> {
    expect(this.h.complaints).toEqual([]);
    await this.h.close();
  }

  plan(): GatewayPlan {
    return this.h.view.by(gatewayPlanTable, "router", this.router)[0]!;
  }

  async port(): Promise<{ id: string; mac_address: string; fixed_ips: { ip_address: string }[] }> {
    return ((await this.h.call("GET", `/v2.0/ports?device_id=${this.router}&device_owner=network:router_gateway`)).body as { ports: [never] }).ports[0];
  }

  /** Lets time pass, a look at a time: what comes of one is there before the next. */
  async pass(seconds: number): Promise<void> {
    for (let t = 0; t < seconds * 10; t++) {
      await this.h.clock.run(100);
      await this.h.settled();
      // A switch that is there has what it is told soon after.
      for (const host of this.synced) this.h.confirm(host);
    }
  }

  /** As a switch tells of its tunnel to another. */
  see(at: string, peer: string, forwarding: boolean | undefined, state?: "up"): void {
    const name = peerPortName(HOSTS.indexOf(peer) + 1);
    this.h.facts.learn(learned(observedTable, at, { id: observedId(at, "Interface", name), chassis: at, table: "Interface", name, columns: forwarding === undefined ? {} : { bfd_status: { forwarding: String(forwarding), ...(state !== undefined && { state }) } } }));
  }

  ready(host: string): { users: boolean; fellows: boolean } | undefined {
    const row = this.h.view.get(gatewayReadyTable, host);
    return row === undefined ? undefined : { users: row.users, fellows: row.fellows };
  }

  async allReady(): Promise<void> {
    for (const host of HOSTS) this.synced.add(host);
    for (const host of HOSTS) this.see(host, other(host), true);
    await this.pass(3);
    expect(HOSTS.map((host) => this.ready(host))).toEqual(HOSTS.map(() => ({ users: true, fellows: true })));
  }

  /** ARP that was sent since the last time. */
  arps(op: number): { chassis: string; spa: string; tpa: string; src: string }[] {
    return this.h.sent.splice(0).flatMap(({ app, packet }) => {
      const { arp, eth } = app === "gateway" ? parsePacket(packet.data) : { arp: undefined, eth: undefined };
      return arp?.op === op ? [{ chassis: packet.chassis, spa: arp.spa, tpa: arp.tpa, src: eth!.src }] : [];
    });
  }
}
