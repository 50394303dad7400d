import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";

let h: Harness;
let outside: string;
let inside: string;
let router: string;
let port: string;

const HOSTS = ["hv1", "gw1", "gw2"];
const TABLES = ["nat_in", "nat_known", "nat_opened", "nat_out", "nat_leaving", "nat_named"] as const;
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf);
};
const all = (): string[][] => HOSTS.map((host) => [...h.engine.flowsOf(host)].map(textOf).sort());
const read = (host: string): string[] => TABLES.flatMap((table) => flows(host, table).filter((f) => f.includes("alg=")).map((f) => `${table} ${f}`));
const help = async (values: Record<string, unknown>): Promise<string> => {
  const answer = await h.call("POST", `/v2.0/routers/${router}/conntrack_helpers`, { conntrack_helper: values });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  await h.settled();
  return (answer.body as { conntrack_helper: { id: string } }).conntrack_helper.id;
};
const FTP = { protocol: "tcp", port: 21, helper: "ftp" };

beforeEach(async () => {
  h = await Harness.make();
  for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: host.startsWith("gw") });
  outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  inside = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  router = (await h.create("router", { external_gateway_info: { network_id: outside } })).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
  port = (await h.create("port", { network_id: inside })).id;
  await h.plug("hv1", port, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("connections of the port are read where they are translated, and what they speak of is let through there; taken away nothing of it is left", async () => {
  const before = all();
  const id = await help(FTP);
  expect(read("hv1")).toEqual([]);
  for (const host of ["gw1", "gw2"]) {
    expect(read(host).map((f) => f.split(" ")[0])).toEqual(["nat_out", "nat_leaving"]);
    for (const flow of read(host)) expect(flow).toMatch(/tcp.*tp_dst=21|tcp_dst=21/);
    for (const table of ["nat_known", "nat_leaving"]) expect(flows(host, table).filter((f) => f.includes("ct_state=+new+rel-inv+trk")), table).toHaveLength(1);
  }
  await help({ protocol: "udp", port: 69, helper: "tftp" });
  expect(read("gw1")).toHaveLength(4);
  for (const conntrack of (await h.call("GET", `/v2.0/routers/${router}/conntrack_helpers`)).body.conntrack_helpers as unknown as { id: string }[]) {
    if (conntrack.id !== id) expect((await h.call("DELETE", `/v2.0/routers/${router}/conntrack_helpers/${conntrack.id}`)).status).toBe(204);
  }
  expect((await h.call("DELETE", `/v2.0/routers/${router}/conntrack_helpers/${id}`)).status).toBe(204);
  await h.settled();
  expect(all()).toEqual(before);
});

test("likewise by floating IPs, and by forwarded ports that keep their number", async () => {
  await help(FTP);
  await h.create("floatingip", { floating_network_id: outside, port_id: port });
  await h.settled();
  expect(read("hv1").map((f) => f.split(" ")[0])).toEqual(["nat_in", "nat_known", "nat_out", "nat_leaving"]);
  const { id } = await h.create("floatingip", { floating_network_id: outside });
  const other = await h.create("port", { network_id: inside, fixed_ips: [{ ip_address: "10.0.0.77" }] });
  const forward = async (values: Record<string, unknown>): Promise<string> => {
    const answer = await h.call("POST", `/v2.0/floatingips/${id}/port_forwardings`, { port_forwarding: { protocol: "tcp", internal_port_id: other.id, internal_ip_address: "10.0.0.77", ...values } });
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    await h.settled();
    return (answer.body as { port_forwarding: { id: string } }).port_forwarding.id;
  };
  const before = read("gw1").length;
  const remove = async (forwarding: string): Promise<void> => {
    await h.call("DELETE", `/v2.0/floatingips/${id}/port_forwardings/${forwarding}`);
    await h.settled();
  };
  for (const [values, more] of [
    [{ external_port: 21, internal_port: 21 }, 2], [{ external_port: 21, internal_port: 2121 }, 0], [{ external_port: 2121, internal_port: 21 }, 0],
    [{ external_port_range: "20:22", internal_port_range: "20:22" }, 2], [{ external_port_range: "20:22", internal_port_range: "21:23" }, 0], [{ external_port_range: "20:22", internal_port: 21 }, 2],
  ] as const) {
    const forwarding = await forward(values);
    expect(read("gw1").length - before, JSON.stringify(values)).toBe(more);
    await remove(forwarding);
  }
});

test("where nothing is translated there is nothing to read", async () => {
  await help(FTP);
  await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, enable_snat: false } } });
  await h.settled();
  for (const host of HOSTS) expect(TABLES.flatMap((table) => flows(host, table))).toEqual([]);
});

test("without the app nothing of it is left; with it again all is there", async () => {
  const bare = all();
  const id = await help(FTP);
  const before = all();
  h = await h.restart(["conntrack-helpers"]);
  await h.settled();
  expect(all()).toEqual(bare);
  expect((await h.call("GET", `/v2.0/routers/${router}/conntrack_helpers`)).status).toBe(404);
  expect((await h.call("GET", `/v2.0/routers/${router}`)).body).not.toHaveProperty("router.conntrack_helpers");
  h = await h.restart([]);
  await h.settled();
  expect((await h.call("GET", `/v2.0/routers/${router}/conntrack_helpers/${id}`)).status).toBe(200);
  expect(all()).toEqual(before);
});
