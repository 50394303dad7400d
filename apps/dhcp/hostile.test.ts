// Domains of one network cost the advertisements and leases of no other.
import { afterEach, expect, test } from "vitest";
import { parsePacket, parseRouterAdvertisement } from "packet-codec";
import type { StageOut } from "#app";
import { Harness } from "../../test/support/harness.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});
const EVIL = { "x-project-id": "evil", "x-roles": "member" };
const P1 = { "x-project-id": "p1", "x-roles": "member" };

async function routed(h: Harness, who: Record<string, string>, cidr: string, ofport: number, more: object = {}): Promise<string> {
  const network = (await h.create("network", { ...more }, who)).id;
  const subnet = (await h.create("subnet", { network_id: network, ip_version: 6, cidr, ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }, who)).id;
  const port = (await h.create("port", { network_id: network }, who)).id;
  await h.plug("hv1", port, ofport);
  const router = (await h.create("router", {}, who)).id;
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet }, who)).status).toBe(200);
  await h.settled();
  return network;
}
function prefixes(h: Harness, seconds: number): Set<string> {
  const out = new Set<string>();
  for (let s = 0; s < seconds; s++) {
    h.clock.advance(1000);
    for (const { app, packet } of h.sent.splice(0)) {
      if (app !== "dhcp") continue;
      const { icmpv6 } = parsePacket((packet as StageOut).data);
      for (const p of parseRouterAdvertisement(icmpv6!.payload).prefixes) out.add(p.prefix);
    }
  }
  return out;
}

test("a domain that is too long for DNS is refused, or advertisements go on", async () => {
  const domain = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(62)}.`;
  let h = await Harness.make();
  open.push(h);
  await h.addChassis("hv1");
  if ((await h.call("POST", "/v2.0/networks", { network: { dns_domain: domain } }, EVIL)).status === 400) return;
  await routed(h, P1, "fd00:1::/64", 5);
  await routed(h, EVIL, "fd00:2::/64", 6, { dns_domain: domain });
  h = await h.restart();
  open.splice(0, 1, h);
  await h.settled();
  const after = prefixes(h, 700);
  expect([...after]).toContain("fd00:1::");
  expect(h.complaints).toEqual([]);
});
