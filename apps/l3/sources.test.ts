// What a router's judgement of sources costs, through the real engine.
import { afterEach, expect, it } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";

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
