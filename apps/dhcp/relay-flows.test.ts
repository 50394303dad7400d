// Which of what relay agents send is taken for the network's server, and that it costs no flow of a port.
import { afterEach, beforeEach, expect, it } from "vitest";
import { frameOf } from "../../test/support/frame.ts";
import { Harness } from "../../test/support/harness.ts";
import { packetOfFrame, trace, TraceSwitch } from "../../src/trace/index.ts";
import { portTable } from "../l2/model.ts";

let h: Harness;
let network_id: string;
let subnet: string;
beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  network_id = (await h.create("network", {})).id;
  subnet = (await h.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/24" })).id;
});
afterEach(async () => h.close());

async function port(ofport: number, ip: string, more: object = {}): Promise<string> {
  const { id } = await h.create("port", { network_id, fixed_ips: [{ ip_address: ip }], ...more });
  await h.plug("hv1", id, ofport);
  await h.settled();
  return id;
}
/** Where a relay's packet of the port at OpenFlow port 1 ends: in which table it comes to the controller, or at which ports. */
function ends(id: string, ipv4_dst: string, { udp_src = 67, eth_dst = "ff:ff:ff:ff:ff:ff" } = {}): { readonly punted: string[]; readonly out: number[] } {
  const { mac_address, ...rest } = h.view.get(portTable, id)!;
  expect(rest.admin_state_up).toBe(true);
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1"), { ports: [{ number: 1 }, { number: 2 }] });
  const frame = frameOf({ eth_src: mac_address, eth_dst, eth_type: 0x800, ipv4_src: "10.0.0.5", ipv4_dst, ip_ttl: 64, ip_proto: 17, udp_src, udp_dst: 67 });
  const { punts, outputs } = trace(sw, packetOfFrame(frame, { metadata: { in_port: 1 } }));
  return { punted: punts.map((p) => h.layout.tables.find((t) => t.id === p.table)!.name), out: outputs.map((o) => o.port) };
}
const taken = { punted: ["dhcp_request"], out: [] };

it.each([["with port security", {}], ["without", { port_security_enabled: false, security_groups: [] }]])("what is for the server comes to the controller, what is for others goes on: a port %s", async (_, more) => {
  const relay = await port(1, "10.0.0.5", more);
  const other = await port(2, "10.0.0.7", { port_security_enabled: false, security_groups: [] });
  for (const to of ["10.0.0.1", "169.254.0.1", "255.255.255.255"]) expect(ends(relay, to), to).toEqual(taken);
  expect(ends(relay, "10.9.0.7", { udp_src: 68 }), "a client's, as before").toEqual(taken);
  const eth_dst = h.view.get(portTable, other)!.mac_address;
  for (const to of ["10.0.0.7", "10.9.0.7"]) expect(ends(relay, to, { eth_dst }), to).toEqual({ punted: [], out: [2] });
  // Nothing of it where the network serves nobody.
  expect((await h.call("PUT", `/v2.0/subnets/${subnet}`, { subnet: { enable_dhcp: false } })).status).toBe(200);
  await h.settled();
  for (const to of ["10.0.0.1", "169.254.0.1", "255.255.255.255"]) expect(ends(relay, to, { eth_dst }), to).toEqual({ punted: [], out: [2] });
});

it("a machine that has the gateway's address is sent what is for it", async () => {
  const relay = await port(1, "10.0.0.5");
  const eth_dst = h.view.get(portTable, await port(2, "10.0.0.1", { port_security_enabled: false, security_groups: [] }))!.mac_address;
  expect(ends(relay, "10.0.0.1", { eth_dst })).toEqual({ punted: [], out: [2] });
  expect(ends(relay, "169.254.0.1")).toEqual(taken);
});

it("a port has one flow for it, and a subnet one on a host", async () => {
  const flows = (): Record<string, number> => {
    const counts: Record<string, number> = { dhcp_server: 0, dhcp_request: 0 };
    for (const { table } of h.engine.flowsOf("hv1")) {
      const { name } = h.layout.tables.find((t) => t.id === table)!;
      if (name in counts) counts[name]! += 1;
    }
    return counts;
  };
  const none = flows();
  await port(1, "10.0.0.5");
  const one = flows();
  expect([one.dhcp_server! - none.dhcp_server!, one.dhcp_request! - none.dhcp_request!]).toEqual([1, 1]);
  await port(2, "10.0.0.6");
  expect(flows()).toEqual({ dhcp_server: one.dhcp_server, dhcp_request: one.dhcp_request! + 1 });
});
