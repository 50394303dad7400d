// Requests that the network's services take from ports, where they do not serve the port that sends one: a port without port security has no policy
// that could keep it from asking others.
import { afterEach, expect, it } from "vitest";
import { frameOf } from "../../test/support/frame.ts";
import { Harness } from "../../test/support/harness.ts";
import { packetOfFrame, trace, TraceSwitch } from "../../src/trace/index.ts";

let h: Harness;
afterEach(async () => h.close());

const MAC = "02:00:00:00:00:01";
const open = { port_security_enabled: false, security_groups: [] };

it.each([
  ["DHCP", { eth_type: 0x800, ipv4_src: "0.0.0.0", ipv4_dst: "255.255.255.255", ip_ttl: 64, ip_proto: 17, udp_src: 68, udp_dst: 67 }],
  ["a router", { eth_type: 0x86dd, ipv6_src: "fe80::ff:fe00:1", ipv6_dst: "ff02::2", ip_ttl: 255, ip_proto: 58, icmpv6_type: 133, icmpv6_code: 0 }],
])("a port without port security asks for %s of whoever is in its network", async (_, asked) => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const network_id = (await h.create("network", {})).id;
  for (const [ofport, values] of [[1, { ...open, mac_address: MAC }], [2, open]] as const) {
    await h.plug("hv1", (await h.create("port", { network_id, ...values })).id, ofport);
  }
  await h.settled();
  const sw = TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1"), { ports: [{ number: 1 }, { number: 2 }] });
  const frame = frameOf({ eth_src: MAC, eth_dst: asked.eth_type === 0x800 ? "ff:ff:ff:ff:ff:ff" : "33:33:00:00:00:02", ...asked });
  expect(trace(sw, packetOfFrame(frame, { metadata: { in_port: 1 } })).outputs.map((o) => o.port)).toEqual([2]);
});
