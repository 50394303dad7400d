// Pairs of ports in one network, in whatever combination: no two flows for one match, and no run that fails.
import { afterEach, expect, it } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { SeededRandom } from "../../src/lib/random.ts";
import { addressHolderTable, addressId, addressTable, deviceOwner, portTable } from "./model.ts";

let h: Harness;
afterEach(async () => h.close());

type Pair = Readonly<Record<"ip_address" | "mac_address", string>> | { readonly ip_address: string };
const VIRTUAL = "00:00:5e:00:02:01";

async function network(): Promise<string> {
  h = await Harness.make();
  await h.addChassis("hv1");
  const network_id = (await h.create("network", {})).id;
  for (const [ip_version, cidr] of [[4, "10.0.0.0/24"], [6, "2001:db8::/64"]]) await h.create("subnet", { network_id, ip_version, cidr });
  return network_id;
}
let ofport = 0;
async function port(network_id: string, values: Record<string, unknown>): Promise<string> {
  const { id } = await h.create("port", { network_id, ...values });
  await h.plug("hv1", id, ++ofport);
  await h.settled();
  return id;
}
const quiet = (about: string): void => {
  expect(h.complaints, about).toEqual([]);
  expect(h.engine.conflicts, about).toEqual([]);
};

it("the link-local address of a pair's MAC may be a pair too, while another port has a prefix of whatever family", async () => {
  const net = await network();
  const id = await port(net, { allowed_address_pairs: [{ ip_address: "fe80::200:5eff:fe00:201", mac_address: VIRTUAL }, { ip_address: "2001:db8::100", mac_address: VIRTUAL }] });
  await port(net, { allowed_address_pairs: [{ ip_address: "10.42.0.0/16" }] });
  quiet("one run");
  const { mac_address } = (await h.call("GET", `/v2.0/ports/${id}`)).body.port;
  const lookup = h.layout.table("l2_lookup").id;
  expect([...h.engine.flowsOf("hv1")].filter((f) => f.table === lookup && textOf(f).includes(mac_address as string)).length).toBeGreaterThan(0);
});

it.each(["0.0.0.0", "::"])("%s, which is nobody's, may be a pair that others have too", async (ip_address) => {
  const net = await network();
  for (let n = 0; n < 2; n++) await port(net, { allowed_address_pairs: [{ ip_address }] });
  quiet("both");
});

it.each(Object.values(deviceOwner))("a plugged port of %s with a global address of IPv6 may have a pair at its own MAC, and others a prefix", async (device_owner) => {
  const net = await network();
  const id = await port(net, { fixed_ips: [{ ip_address: "2001:db8::11" }, { ip_address: "10.0.0.11" }], allowed_address_pairs: [{ ip_address: "2001:db8::100" }] });
  await port(net, { allowed_address_pairs: [{ ip_address: "10.42.0.0/16" }] });
  expect((await h.call("PUT", `/v2.0/ports/${id}`, { port: { device_owner } })).status).toBe(200);
  await h.settled();
  quiet(device_owner);
});

it("no two flows for one match, whatever pairs the ports of a network have, and whoever made them", async () => {
  const net = await network();
  const random = new SeededRandom(7);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random.next() * of.length)]!;
  const macs = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];
  const locals = ["fe80::ff:fe00:1", "fe80::ff:fe00:2", "fe80::ff:fe00:3", "fe80::200:5eff:fe00:201"];
  const owned = ["2001:db8::11", "2001:db8::12"];
  const ips = [
    ...owned, ...owned, ...owned, "10.0.0.11", "10.0.0.12", "10.0.0.100", "10.0.0.100/32", "10.0.0.5/24", "10.0.0.0/24", "10.42.0.0/16", "0.0.0.0", "0.0.0.0/0", "0.0.0.0/8", "::", "::/0", "::ffff:10.0.0.11", "2001:db8::11", "2001:DB8:0::100", "2001:db8::100/128",
    "2001:db8::7/64", "fe80::/64", "fe80::/10", "255.255.255.255", "224.0.0.1", "ff02::1", ...locals, ...locals,
  ];
  const pairs = (): Pair[] => {
    const out = new Map<string, Pair>();
    for (let n = Math.floor(random.next() * 4); n > 0; n--) {
      const mac_address = pick([undefined, undefined, VIRTUAL, ...macs]);
      const ip_address = pick(ips);
      out.set(`${ip_address} ${mac_address ?? ""}`, mac_address === undefined ? { ip_address } : { ip_address, mac_address });
    }
    return [...out.values()];
  };
  const ports: string[] = [];
  for (const [n, mac_address] of macs.entries()) {
    ports.push(await port(net, { mac_address, fixed_ips: [{ ip_address: `10.0.0.1${n + 1}` }, ...(n < 2 ? [{ ip_address: `2001:db8::1${n + 1}` }] : [])] }));
  }
  const history: string[] = [];
  let announced = 0;
  for (let step = 0; step < 500; step++) {
    const secure = random.next() < 0.9 ? { port_security_enabled: true, allowed_address_pairs: pairs() } : { port_security_enabled: false, security_groups: [], allowed_address_pairs: [] };
    const change = { ...secure, device_owner: pick(["", "", "compute:nova", ...Object.values(deviceOwner)]) };
    const at = Math.floor(random.next() * ports.length);
    const { status } = await h.call("PUT", `/v2.0/ports/${ports[at]!}`, { port: change });
    if (status !== 200) continue;
    history[at] = JSON.stringify(change);
    await h.settled();
    quiet(history.join("\n"));
    // It announces what it may have of another's.
    await h.model.transact({ requestId: "test", call: "test" }, (tx) => {
      for (const { ip_address: ip, mac_address: mac } of tx.get(portTable, ports[at]!)!.allowed_address_pairs) {
        const owner = tx.get(addressTable, addressId(net, ip));
        if (owner === undefined || owner.port_id === ports[at]) continue;
        tx.put(addressHolderTable, { id: owner.id, port_id: ports[at]!, owner_id: owner.port_id, mac: mac === "" ? tx.get(portTable, ports[at]!)!.mac_address : mac });
        announced++;
      }
    });
    await h.settled();
    quiet(`${history.join("\n")}\nannounced by ${at}`);
  }
  expect(announced).toBeGreaterThan(20);
});

it("a port with a prefix that is renamed, and one more address that two may have, rerun what concerns them: not the whole network", async () => {
  const costs: number[][] = [];
  for (const size of [4, 12]) {
    const net = await network();
    const ports: string[] = [];
    for (let n = 0; n < size; n++) ports.push(await port(net, { fixed_ips: [{ ip_address: `10.0.0.${n + 11}` }], allowed_address_pairs: [{ ip_address: `10.0.0.${n + 101}` }] }));
    const wide = await port(net, { allowed_address_pairs: [{ ip_address: "10.42.0.0/16" }] });
    const taker = await port(net, { allowed_address_pairs: [{ ip_address: "10.0.0.201" }] });
    const cost = async (id: string, values: Record<string, unknown>): Promise<number> => {
      const { runs } = h.engine.stats;
      expect((await h.call("PUT", `/v2.0/ports/${id}`, { port: values })).status).toBe(200);
      await h.settled();
      return h.engine.stats.runs - runs;
    };
    costs.push([await cost(wide, { name: "other" }), await cost(taker, { allowed_address_pairs: [{ ip_address: "10.0.0.201" }, { ip_address: "10.0.0.11" }] })]);
    quiet("costs");
    if (size === 4) await h.close();
  }
  expect(costs[1]).toEqual(costs[0]);
});

it("a MAC that several ports may have is learned of a chassis by a flow of its own, one that nobody shares by none", async () => {
  const net = await network();
  const table = h.layout.table("mac_source").id;
  const ofVirtual = (): string[] => [...h.engine.flowsOf("hv1")].filter((f) => f.table === table).map(textOf).filter((t) => t.includes("tun_src") && t.includes(VIRTUAL));
  const pairs = { allowed_address_pairs: [{ ip_address: "10.0.0.100", mac_address: VIRTUAL }] };
  await port(net, pairs);
  expect(ofVirtual()).toEqual([]);
  const second = await port(net, pairs);
  expect(ofVirtual()).toHaveLength(1);
  await h.call("DELETE", `/v2.0/ports/${second}`);
  await h.settled();
  expect(ofVirtual()).toEqual([]);
  quiet("shared MACs");
});
