// What a router's judgement of sources costs, through the real engine.
import { afterEach, expect, it } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { Packet, trace, TraceSwitch } from "../../src/trace/index.ts";
import { legTable } from "./model.ts";

let h: Harness;
afterEach(async () => h.close());

it("takes a flow for each prefix of a link and of a router; a port with pairs that changes otherwise moves no router", async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const LEGS = 12;
  const router = (await h.create("router", {})).id;
  const networks: string[] = [];
  for (let n = 0; n < LEGS; n++) {
    const network_id = (await h.create("network", {})).id;
    networks.push(network_id);
    for (const [ip_version, cidr] of [[4, `10.${n}.0.0/24`], [6, `fd00:${n}::/64`]]) {
      const { id: subnet_id } = await h.create("subnet", { network_id, ip_version, cidr });
      expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id })).status).toBe(200);
    }
  }
  const ports: string[] = [];
  for (let n = 0; n < LEGS; n++) {
    const { id } = await h.create("port", { network_id: networks[n]!, allowed_address_pairs: [{ ip_address: "10.0.0.200" }, { ip_address: `10.${n}.0.201` }, { ip_address: "198.51.100.0/24" }] });
    await h.plug("hv1", id, n + 1);
    ports.push(id);
  }
  await h.settled();
  const flows = (table: string, test: (text: string) => boolean): number => {
    const { id } = h.layout.table(table);
    return [...h.engine.flowsOf("hv1")].filter((f) => f.table === id && test(textOf(f))).length;
  };
  // Each leg is two ports here, one for each family: both links, and what is of neither.
  expect(flows("l3_input", (t) => t.startsWith("priority=100,"))).toBe(2 * LEGS);
  expect(flows("l3_input", (t) => t.startsWith("priority=105,") && !t.includes("reg1="))).toBe(4 * LEGS);
  expect(flows("l3_input", (t) => t.includes("reg1=")), "pairs of other links, by either of the two ports").toBe(2 * (LEGS - 1));
  expect(flows("l3_route", (t) => t.startsWith("priority=1150,"))).toBe(2 * LEGS);

  const alone = (await h.create("network", {})).id;
  for (const [ip_version, cidr] of [[4, "10.77.0.0/24"], [6, "fd00:77::/64"]]) await h.create("subnet", { network_id: alone, ip_version, cidr });
  const lone = (await h.create("port", { network_id: alone, allowed_address_pairs: [{ ip_address: "198.51.100.0/24" }] })).id;
  await h.plug("hv1", lone, LEGS + 1);
  await h.settled();
  const cost = async (port: string, values: Record<string, unknown>): Promise<number> => {
    const { runs } = h.engine.stats;
    expect((await h.call("PUT", `/v2.0/ports/${port}`, { port: values })).status).toBe(200);
    await h.settled();
    return h.engine.stats.runs - runs;
  };
  expect(await cost(ports[3]!, { name: "other" }), "as one whose network has no router").toBe(await cost(lone, { name: "other" }));
  await cost(ports[3]!, { allowed_address_pairs: [] });
  expect(flows("l3_input", (t) => t.includes("reg1="))).toBe(2 * (LEGS - 2));
  expect(h.complaints).toEqual([]);
});

it("counts a subnet without an address of the router as of the link, unless it overlaps with what is of another one", async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const subnet = async (network_id: string, cidr: string, project_id: string): Promise<string> =>
    (await h.create("subnet", { network_id, ip_version: cidr.includes(":") ? 6 : 4, cidr, project_id })).id;
  const shared = (await h.create("network", { shared: true, project_id: "others" })).id;
  const there = [await subnet(shared, "10.20.0.0/24", "others"), await subnet(shared, "fd20::/64", "others")];
  await subnet(shared, "10.29.0.0/24", "others");
  const own: string[] = [];
  const router = (await h.create("router", { project_id: "guest" })).id;
  const member = { "x-project-id": "guest", "x-roles": "member" };
  const connect = async (body: Record<string, string>): Promise<void> => {
    expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, body, member)).status).toBe(200);
  };
  for (const n of [21, 22]) {
    const network = (await h.create("network", { project_id: "guest" })).id;
    own.push(network);
    await connect({ subnet_id: await subnet(network, `10.${n}.0.0/24`, "guest") });
  }
  const made = await h.call("POST", "/v2.0/ports", { port: { network_id: shared, fixed_ips: there.map((subnet_id) => ({ subnet_id })) } }, member);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  await connect({ port_id: made.body.port.id as string });
  const taken = ["10.23.0.0/24", "fd23::/64"];
  // As the shared network's, around one, a part of one that is unconnected there, as the member's other network's.
  const foreign = ["10.20.0.0/24", "fd20::/60", "10.29.0.128/25", "10.22.0.0/25"];
  for (const cidr of [...taken, ...foreign]) await subnet(own[0]!, cidr, "guest");
  await h.plug("hv1", (await h.create("port", { network_id: own[0] })).id, 1);
  await h.settled();
  const onLink = (): string[] => {
    const { id } = h.layout.table("l3_input");
    return [...h.engine.flowsOf("hv1")].filter((f) => f.table === id).flatMap((f) => /(?:ipv6|nw)_src=([^, ]+)/.exec(textOf(f))?.[1] ?? []).sort();
  };
  expect(onLink()).toEqual(["10.21.0.0/24", ...taken]);
  // A network that is no longer of the router says nothing of what is on another.
  const other = (await h.call("GET", `/v2.0/subnets?network_id=${own[1]}`)).body.subnets[0].id as string;
  expect((await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: other }, member)).status).toBe(200);
  await h.settled();
  expect(onLink()).toEqual(["10.21.0.0/24", "10.22.0.0/25", ...taken]);
  expect(h.complaints).toEqual([]);
});

it("lets nothing into a network where it is a guest in the name of a subnet of that one, though the member has connected the same prefix of his own", async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const subnet = async (network_id: string, cidr: string, project_id: string): Promise<string> => (await h.create("subnet", { network_id, ip_version: 4, cidr, project_id })).id;
  const shared = (await h.create("network", { shared: true, project_id: "others" })).id;
  const there = await subnet(shared, "10.20.0.0/24", "others");
  await subnet(shared, "10.29.0.0/24", "others");
  await subnet(shared, "10.30.1.0/24", "others");
  const router = (await h.create("router", { project_id: "guest" })).id;
  const member = { "x-project-id": "guest", "x-roles": "member" };
  const connect = async (body: Record<string, string>): Promise<void> => {
    expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, body, member)).status).toBe(200);
  };
  const [own, second] = [(await h.create("network", { project_id: "guest" })).id, (await h.create("network", { project_id: "guest" })).id];
  // Its own, the same as one of the shared network, around one, a part of one.
  for (const cidr of ["10.21.0.0/24", "10.29.0.0/24", "10.30.0.0/16"]) await connect({ subnet_id: await subnet(own, cidr, "guest") });
  await connect({ subnet_id: await subnet(second, "10.22.0.0/24", "guest") });
  await connect({ port_id: (await h.call("POST", "/v2.0/ports", { port: { network_id: shared, fixed_ips: [{ subnet_id: there }] } }, member)).body.port.id as string });
  const open = { port_security_enabled: false, security_groups: [] };
  const place = async (network_id: string, ip_address: string, ofport: number, values: Record<string, unknown> = open): Promise<void> => {
    await h.plug("hv1", (await h.create("port", { network_id, fixed_ips: [{ ip_address }], ...values })).id, ofport);
  };
  await place(own, "10.21.0.5", 1);
  await place(shared, "10.20.0.5", 2);
  await place(second, "10.22.0.5", 3);
  // Whose pair names an address that is on another link of the member's as well.
  await place(second, "10.22.0.6", 4, { allowed_address_pairs: [{ ip_address: "10.29.0.7" }, { ip_address: "10.21.0.7" }] });
  await h.settled();
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1"));
  const reached = (in_port: number, ipv4_src: string, ipv4_dst: string): number[] => {
    const [from, mac] = { 1: [own, "fa:16:3e:00:00:01"], 2: [shared, ""], 3: [second, ""], 4: [second, ""] }[in_port]!;
    const leg = h.view.by(legTable, "router", router).find((l) => l.network_id === from)!;
    const eth_src = mac === "" || in_port === 4 ? macs.get(in_port)! : mac!;
    const packet = Packet.of({ in_port, eth_src, eth_dst: leg.mac, eth_type: 0x800, ipv4_src, ipv4_dst, ip_ttl: 64, ip_proto: 17, udp_src: 1, udp_dst: 2 });
    return trace(sw, packet).outputs.map((o) => o.port);
  };
  const macs = new Map<number, string>();
  for (const { mac_address, fixed_ips } of (await h.call("GET", "/v2.0/ports")).body.ports as { mac_address: string; fixed_ips: { ip_address: string }[] }[]) {
    const at = ["10.21.0.5", "10.20.0.5", "10.22.0.5", "10.22.0.6"].indexOf(fixed_ips[0]!.ip_address);
    if (at >= 0) macs.set(at + 1, mac_address);
  }
  for (const from of ["10.21.0.5", "10.30.2.5"]) expect(reached(1, from, "10.20.0.5"), `${from} is the member's alone`).toEqual([2]);
  for (const from of ["10.29.0.5", "10.30.1.5", "10.20.0.9"]) expect(reached(1, from, "10.20.0.5"), `${from} is of the shared network`).toEqual([]);
  for (const from of ["10.21.0.5", "10.29.0.5", "10.30.1.5"]) expect(reached(1, from, "10.22.0.5"), `${from} to a network of his own`).toEqual([3]);
  expect(reached(4, "10.21.0.7", "10.20.0.5"), "a pair").toEqual([2]);
  expect(reached(4, "10.29.0.7", "10.20.0.5"), "a pair of the shared network's").toEqual([]);
  expect(reached(2, "10.29.0.9", "10.21.0.5"), "from there, where the member has that prefix").toEqual([]);
  expect(h.complaints).toEqual([]);
});
