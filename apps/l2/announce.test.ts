// Announcements of addresses that moved, through the real engine: what the service sends while time passes.
import { afterEach, describe, expect, it } from "vitest";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement, parsePacket } from "packet-codec";
import type { StageOut } from "#app";
import { Harness, textOf } from "../../test/support/harness.ts";
import { addressHolderTable, addressId, addressTable, attachmentTable, type Address, type AddressHolder } from "./model.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

interface Ground {
  readonly h: Harness;
  readonly network: string;
  readonly four: string;
  readonly six: string;
  /** A port on a host; its id. */
  port(host: string | undefined, ofport: number, values?: Record<string, unknown>): Promise<string>;
  mac(port: string): Promise<string>;
}

async function ground(): Promise<Ground> {
  const h = await Harness.make();
  open.push(h);
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  const network = (await h.create("network", {})).id;
  const four = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  const six = (await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00:1::/64" })).id;
  const port: Ground["port"] = async (host, ofport, values = {}) => {
    const { id } = await h.create("port", { network_id: network, ...values });
    if (host !== undefined) await h.plug(host, id, ofport);
    await h.settled();
    return id;
  };
  return { h, network, four, six, port, mac: async (id) => (await h.call("GET", `/v2.0/ports/${id}`)).body.port.mac_address as string };
}

/** What is said in so many seconds: `<seconds> <address> is <mac> to <places>`, and flags of routers. */
function said(h: Harness, seconds: number): string[] {
  const out: string[] = [];
  for (let t = 0; t < seconds * 10; t++) {
    h.clock.advance(100);
    for (const { packet } of h.sent.splice(0)) {
      const { chassis, registers, data, stage } = packet as StageOut;
      const { eth, arp, icmpv6 } = parsePacket(data);
      if (icmpv6?.type === 134) continue;
      const ip = arp?.spa ?? parsePacket(data).ipv6!.src;
      if (arp !== undefined) expect([arp.op, arp.sha, arp.tpa, eth.dst]).toEqual([1, eth.src, arp.spa, "ff:ff:ff:ff:ff:ff"]);
      expect(registers.from_network).toBe(1);
      const to = stage === "forward" ? "all" : h.view.by(attachmentTable, "chassis", chassis).find((a) => a.port_key === registers.out_port_key)!.ofport;
      out.push(`${((t + 1) / 10).toFixed(1)} ${ip} is ${eth.src} to ${chassis}:${to}${icmpv6 !== undefined && (icmpv6.payload[0]! & 0x80) !== 0 ? " router" : ""}`);
    }
  }
  expect(h.complaints).toEqual([]);
  return out.sort();
}
const fixed = (g: Ground): Record<string, unknown> => ({ fixed_ips: [{ subnet_id: g.four, ip_address: "10.0.0.9" }, { subnet_id: g.six, ip_address: "fd00:1::9" }] });

describe("an address that moves to another MAC", () => {
  it("of a port that is deleted and made again: three times, to all but the port itself", async () => {
    const g = await ground();
    const [first] = [await g.port("hv1", 5, fixed(g)), await g.port("hv1", 6), await g.port("hv2", 7)];
    expect(said(g.h, 10)).toEqual([]);
    await g.h.unplug("hv1", first);
    await g.h.call("DELETE", `/v2.0/ports/${first}`);
    await g.h.settled();
    expect(said(g.h, 100)).toEqual([]);
    const second = await g.port(undefined, 0, fixed(g));
    expect(said(g.h, 10)).toEqual([]);
    await g.h.plug("hv1", second, 8);
    await g.h.settled();
    const mac = await g.mac(second);
    const at = (s: string): string[] => ["10.0.0.9", "fd00:1::9"].flatMap((ip) => [`${s} ${ip} is ${mac} to hv1:6`, `${s} ${ip} is ${mac} to hv2:all`]);
    expect(said(g.h, 60)).toEqual([...at("0.2"), ...at("1.3"), ...at("4.0")].sort());
  });

  it("of a port whose MAC changes; not of one that keeps it, wherever it goes and whatever else changes", async () => {
    const g = await ground();
    const [port] = [await g.port("hv1", 5, fixed(g)), await g.port("hv2", 7)];
    await g.h.unplug("hv1", port);
    await g.h.settled();
    await g.h.plug("hv2", port, 9);
    await g.h.call("PUT", `/v2.0/ports/${port}`, { port: { name: "other", allowed_address_pairs: [{ ip_address: "10.0.0.77" }] } });
    await g.h.settled();
    expect(said(g.h, 10)).toEqual([]);
    await g.h.unplug("hv2", port);
    expect((await g.h.call("PUT", `/v2.0/ports/${port}`, { port: { mac_address: "fa:16:3e:00:00:99" } })).status).toBe(200);
    await g.h.plug("hv2", port, 9);
    await g.h.settled();
    const heard = said(g.h, 10);
    expect(heard).toHaveLength(9);
    expect(heard[0]).toBe("0.2 10.0.0.77 is fa:16:3e:00:00:99 to hv2:7");
  });

  it("of a router's interface, with what it is", async () => {
    const g = await ground();
    await g.port("hv1", 5);
    const routers = [(await g.h.create("router", {})).id, (await g.h.create("router", {})).id];
    const change = async (router: string, method: string): Promise<void> => {
      for (const subnet_id of [g.four, g.six]) expect((await g.h.call("PUT", `/v2.0/routers/${router}/${method}_router_interface`, { subnet_id })).status).toBe(200);
      await g.h.settled();
    };
    await change(routers[0]!, "add");
    expect(said(g.h, 10)).toEqual([]);
    await change(routers[0]!, "remove");
    await change(routers[1]!, "add");
    const heard = said(g.h, 10);
    expect(heard).toHaveLength(6);
    expect(heard[0]).toMatch(/^0\.[23] 10\.0\.0\.1 is \S+ to hv1:all$/);
    expect(heard[1]).toMatch(/^0\.[23] fd00:1:: is \S+ to hv1:all router$/);
  });

  it("of a pair that another port has then; not where several have it, of whom one says so itself", async () => {
    const g = await ground();
    const pair = { allowed_address_pairs: [{ ip_address: "10.0.0.50" }] };
    const [a, b] = [await g.port("hv1", 5, pair), await g.port("hv2", 6)] as [string, string];
    const set = async (port: string, values: Record<string, unknown>): Promise<void> => {
      expect((await g.h.call("PUT", `/v2.0/ports/${port}`, { port: values })).status).toBe(200);
      await g.h.settled();
    };
    await set(a, { allowed_address_pairs: [] });
    await set(b, pair);
    expect(said(g.h, 10).map((line) => line.split(" to ")[1])).toEqual(["hv1:all", "hv1:all", "hv1:all"]);
    await set(a, pair);
    expect(said(g.h, 10)).toEqual([]);
    await set(b, { allowed_address_pairs: [] });
    expect(said(g.h, 10)).toHaveLength(3);
  });

  it("and what is remembered is bounded in time, and gone at the end", async () => {
    const g = await ground();
    const first = await g.port("hv1", 5, fixed(g));
    await g.port("hv1", 6);
    await g.h.call("DELETE", `/v2.0/ports/${first}`);
    await g.h.settled();
    g.h.clock.advance(3700_000);
    await g.port("hv1", 7, fixed(g));
    expect(said(g.h, 10)).toEqual([]);
    expect(g.h.timers).toBe(0);
  });
});

it("is announced of every project, though another moves more addresses than are remembered and announced of all", { tags: "long", timeout: 300_000 }, async () => {
  const g = await ground();
  const of = (project_id: string, values: Record<string, unknown> = {}): Record<string, unknown> => ({ project_id, ...values });
  const first = await g.port("hv1", 5, of("victim", fixed(g)));
  await g.port("hv2", 6, of("victim"));
  const [left, taken] = [await g.port("hv1", 7, of("hostile")), await g.port("hv1", 8, of("hostile"))] as [string, string];
  expect((await g.h.call("DELETE", `/v2.0/ports/${first}`)).status).toBe(204);
  await g.h.settled();
  const rows = (port_id: string, from: number, to: number): Address[] => Array.from({ length: to - from }, (_, i) => {
    const ip = `10.${1 + ((from + i) >> 16)}.${((from + i) >> 8) & 255}.${(from + i) & 255}`;
    return { id: addressId(g.network, ip), network_id: g.network, port_id, subnet_id: g.four, ip, family: 4, position: 0 };
  });
  const write = async (list: readonly Address[], there: boolean): Promise<void> => {
    await g.h.model.transact({ requestId: "test", call: "test" }, (tx) => {
      for (const row of list) if (there) tx.put(addressTable, row); else tx.delete(addressTable, row.id);
    });
    await g.h.settled();
  };
  const MANY = 70_000;
  const PART = 5000;
  for (let n = 0; n < MANY; n += PART) for (const there of [true, false]) await write(rows(left, n, n + PART), there);
  await write(rows(taken, MANY - PART, MANY), true);
  const second = await g.port("hv2", 9, of("victim", fixed(g)));
  const mac = await g.mac(second);
  const heard = said(g.h, 10).filter((line) => line.includes(` 10.0.0.9 is ${mac}`)).map((line) => line.split(" to ")[1]);
  expect(heard.sort()).toEqual(["hv1:all", "hv1:all", "hv1:all", "hv2:6", "hv2:6", "hv2:6"]);
});

describe("an address that another port takes over", () => {
  /** As a switch sends it up. */
  async function announce(g: Ground, port: string, data: Buffer): Promise<void> {
    const at = g.h.view.by(attachmentTable, "port", port)[0]!;
    expect(g.h.packets.handle({ chassis: at.chassis, inPort: at.ofport, tableId: g.h.layout.table("announced").id, data, match: { [g.h.layout.register("in_port_key").field]: at.port_key } })).toEqual([]);
    for (let n = 0; n < 50; n++) await new Promise((done) => setImmediate(done));
    await g.h.settled();
  }
  const four = (mac: string, address = "10.0.0.9"): Buffer => buildGratuitousArp({ mac, address });
  const six = (mac: string, address = "fd00:1::9"): Buffer => buildUnsolicitedNeighbourAdvertisement({ mac, address });
  const holders = (g: Ground): string[] => [...g.h.view.all(addressHolderTable)].map((r) => `${r.id.split("/")[1]} ${r.port_id} ${r.mac}`).sort();
  const pairs = { allowed_address_pairs: [{ ip_address: "10.0.0.9" }, { ip_address: "fd00:1::9", mac_address: "00:00:5e:00:02:01" }] };

  async function rivals(): Promise<{ g: Ground; owner: string; taker: string; other: string; ownerMac: string; takerMac: string }> {
    const g = await ground();
    const [owner, taker, other] = [await g.port("hv1", 5, fixed(g)), await g.port("hv2", 6, pairs), await g.port("hv2", 7)] as [string, string, string];
    return { g, owner, taker, other, ownerMac: await g.mac(owner), takerMac: await g.mac(taker) };
  }
  it("is stored as the one's that announced it last, at the MAC it may have it at", async () => {
    const { g, owner, taker, ownerMac, takerMac } = await rivals();
    await announce(g, taker, four(takerMac));
    await announce(g, taker, six("00:00:5e:00:02:01"));
    expect(holders(g)).toEqual([`10.0.0.9 ${taker} ${takerMac}`, `fd00:1::9 ${taker} 00:00:5e:00:02:01`]);
    const { generation } = g.h.model;
    await announce(g, taker, four(takerMac));
    expect(g.h.model.generation, "said again it changes nothing").toBe(generation);
    await announce(g, owner, four(ownerMac));
    expect(holders(g)).toEqual([`fd00:1::9 ${taker} 00:00:5e:00:02:01`]);
    await g.h.call("PUT", `/v2.0/ports/${taker}`, { port: { allowed_address_pairs: [] } });
    expect(holders(g)).toEqual([]);
  });

  it("is taken from that port alone: a port that has the address later is not spoken for", async () => {
    const { g, owner, taker, takerMac, ownerMac } = await rivals();
    const { id: table } = g.h.layout.table("neighbour");
    const known = (): string[] => [...g.h.engine.flowsOf("hv2")].filter((f) => f.table === table).map(textOf).flatMap((t) => (/reg15=0xa000009 .*set_field:(\S+)->eth_dst/.exec(t) ?? []).slice(1));
    await announce(g, taker, four(takerMac));
    expect(known()).toEqual([takerMac]);
    // Its address goes elsewhere and comes back.
    const addresses = (ip_address: string) => g.h.call("PUT", `/v2.0/ports/${owner}`, { port: { fixed_ips: [{ subnet_id: g.four, ip_address }] } });
    expect((await addresses("10.0.0.10")).status).toBe(200);
    expect(holders(g)).toEqual([]);
    expect((await addresses("10.0.0.9")).status).toBe(200);
    await g.h.settled();
    expect(known()).toEqual([ownerMac]);
    g.h.clock.advance(60_000);
    await announce(g, taker, four(takerMac));
    expect(known()).toEqual([takerMac]);
    // It is deleted, and another is made.
    await g.h.unplug("hv1", owner);
    expect((await g.h.call("DELETE", `/v2.0/ports/${owner}`)).status).toBe(204);
    expect(holders(g)).toEqual([]);
    const next = await g.port("hv1", 9, fixed(g));
    expect(known()).toEqual([await g.mac(next)]);
    g.h.clock.advance(60_000);
    await announce(g, taker, four(takerMac));
    expect([known(), holders(g)]).toEqual([[takerMac], [`10.0.0.9 ${taker} ${takerMac}`]]);
    // Whatever is stored of a port that does not have the address, or does not say whose it was, counts for nothing.
    for (const owner_id of [owner, undefined]) {
      await g.h.model.transact({ requestId: "req-1", call: "test" }, (tx) => tx.put(addressHolderTable, { id: addressId(g.network, "10.0.0.9"), port_id: taker, mac: takerMac, owner_id } as AddressHolder));
      await g.h.settled();
      expect(known()).toEqual([await g.mac(next)]);
    }
  });

  it("is nobody's that may not have it there, nor by frames that announce nothing", async () => {
    const { g, owner, taker, other, ownerMac, takerMac } = await rivals();
    const question = four(takerMac);
    question[41] = 1;
    const far = six("00:00:5e:00:02:01");
    far[21] = 64;
    const broken = six("00:00:5e:00:02:01");
    broken[80]! ^= 1;
    for (const data of [question, far, broken, four("00:00:5e:00:02:01"), six(takerMac), four(takerMac, "10.0.0.10"), four(takerMac).subarray(0, 30), Buffer.alloc(60)]) await announce(g, taker, data);
    await announce(g, other, four(await g.mac(other)));
    await announce(g, owner, four(ownerMac));
    expect(holders(g)).toEqual([]);
    expect(g.h.complaints).toEqual([]);
  });

  it("goes back to its owner when the one that took it goes, and a port that says too much is taken notice of now and then", async () => {
    const { g, owner, taker, ownerMac, takerMac } = await rivals();
    const from = g.h.model.generation;
    for (let n = 0; n < 50; n++) {
      await announce(g, taker, four(takerMac));
      await announce(g, owner, four(ownerMac));
    }
    expect(g.h.model.generation - from).toBeLessThanOrEqual(10);
    g.h.clock.advance(60_000);
    await announce(g, taker, four(takerMac));
    expect(holders(g)).toHaveLength(1);
    await g.h.unplug("hv2", taker);
    expect((await g.h.call("DELETE", `/v2.0/ports/${taker}`)).status).toBe(204);
    expect(holders(g)).toEqual([]);
    expect(g.h.complaints).toEqual([]);
  });
});
