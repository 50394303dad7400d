// Counters of rules as the API shows them, without switches: who is told what, and what is kept of a rule that goes. On switches: test/integration/security.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Share } from "../../../src/services/index.ts";
import { appsFolder, Harness } from "../../../test/support/harness.ts";
import { countedOf, ruleCountTable } from "./counters.ts";
import type { SecurityGroupRule } from "../model.ts";

let h: Harness;
beforeEach(async () => {
  h = await Harness.make();
});
afterEach(async () => h.close());

const as = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "member" });
const FIELDS = "?fields=id&fields=axion:packets&fields=axion:last_hit&fields=axion:counts_complete&fields=axion:counted_with";
async function shown(id: string, project = "p"): Promise<Record<string, unknown>> {
  const { status, body } = await h.call("GET", `/v2.0/security-group-rules/${id}${FIELDS}`, undefined, as(project));
  expect(status).toBe(200);
  return (body as Record<string, Record<string, unknown>>).security_group_rule!;
}
const group = async (): Promise<string> => (await h.create("security_group", { name: "g" }, as("p"))).id;
const rule = async (values: Record<string, unknown>): Promise<SecurityGroupRule> => (await h.create("security_group_rule", { direction: "ingress", ...values }, as("p"))) as unknown as SecurityGroupRule;

test("a rule that no host has counts nothing, and that is all of it; one whose host does not say is not known", async () => {
  const id = await group();
  const one = await rule({ security_group_id: id, protocol: "tcp" });
  expect(await shown(one.id)).toEqual({ id: one.id, "axion:packets": 0, "axion:last_hit": null, "axion:counts_complete": true, "axion:counted_with": [] });
  await h.addChassis("hv1");
  const network_id = (await h.create("network", {}, as("p"))).id;
  await h.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/24" }, as("p"));
  await h.plug("hv1", (await h.create("port", { network_id, security_groups: [id] }, as("p"))).id, 1);
  await h.settled();
  const two = await rule({ security_group_id: id, protocol: "udp" });
  await h.settled();
  expect(await shown(two.id)).toEqual({ id: two.id, "axion:packets": null, "axion:last_hit": null, "axion:counts_complete": false, "axion:counted_with": [] });
});

test("switches are asked for rules that the caller sees, and for no others; nor where no counter is named", async () => {
  const id = await group();
  const one = await rule({ security_group_id: id, protocol: "tcp" });
  await h.addChassis("hv1");
  const network_id = (await h.create("network", {}, as("p"))).id;
  await h.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/24" }, as("p"));
  await h.plug("hv1", (await h.create("port", { network_id, security_groups: [id] }, as("p"))).id, 1);
  await h.settled();
  let asked = 0;
  h.countsOf = () => {
    asked++;
    return undefined;
  };
  expect((await h.call("GET", `/v2.0/security-group-rules/${one.id}${FIELDS}`, undefined, as("q"))).status).toBe(404);
  await h.call("GET", `/v2.0/security-group-rules${FIELDS}`, undefined, as("q"));
  await h.call("GET", `/v2.0/security-group-rules/${one.id}`, undefined, as("p"));
  const { body } = await h.call("GET", `/v2.0/security-groups/${id}`, undefined, as("p"));
  expect(JSON.stringify(body)).toContain(one.id);
  expect(JSON.stringify(body)).not.toContain("axion:");
  await h.call("GET", `/v2.0/security-group-rules?fields=id`, undefined, as("p"));
  expect(asked).toBe(0);
  await shown(one.id);
  expect(asked).toBe(1);
  // Within a second nobody is asked again.
  await shown(one.id);
  expect(asked).toBe(1);
});

test("rules that share the other side name each other, and what is stored goes with the last of them", async () => {
  const id = await group();
  const [tcp, udp] = [await rule({ security_group_id: id, protocol: "tcp", remote_group_id: id }), await rule({ security_group_id: id, protocol: "udp", remote_group_id: id })];
  const alone = await rule({ security_group_id: id, protocol: "tcp" });
  expect((await shown(tcp.id))["axion:counted_with"]).toEqual([udp.id]);
  expect((await shown(alone.id))["axion:counted_with"]).toEqual([]);
  const counts = { packets: 1, bytes: 100, gone_packets: 1, gone_bytes: 100, last_hit: null };
  await h.model.transact({ requestId: "req-1", call: "test" }, (tx) => {
    for (const row of [tcp, alone]) tx.put(ruleCountTable, { id: countedOf(row), ...counts });
  });
  const stored = (): string[] => [...h.view.all(ruleCountTable)].map((row) => row.id);
  const remove = async (of: SecurityGroupRule): Promise<void> => {
    expect((await h.call("DELETE", `/v2.0/security-group-rules/${of.id}`, undefined, as("p"))).status).toBe(204);
    await h.settled();
  };
  await remove(tcp);
  expect(stored()).toHaveLength(2);
  await remove(alone);
  await remove(udp);
  expect(stored()).toEqual([]);
});

test("of several controllers one stores what rules have counted, and what another has seen go counts at all of them", async () => {
  await h.close();
  let live = ["other"];
  h = await Harness.make([], appsFolder, { share: new Share("self", () => live) });
  const id = await group();
  const one = await rule({ security_group_id: id, protocol: "tcp" });
  await h.clock.run(120_000);
  const stored = (): unknown[] => [...h.view.all(ruleCountTable)].map((row) => [row.id, row.packets]);
  expect(stored()).toEqual([]);
  await h.model.transact({ requestId: "req-1", call: "the other" }, (tx) => tx.put(ruleCountTable, { id: one.id, packets: 7, bytes: 700, gone_packets: 7, gone_bytes: 700, last_hit: null }));
  await h.clock.run(60_000);
  expect((await shown(one.id))["axion:packets"]).toBe(7);
  live = ["self"];
  const two = await rule({ security_group_id: id, protocol: "udp" });
  await h.clock.run(120_000);
  expect(stored()).toEqual(expect.arrayContaining([[one.id, 7], [two.id, 0]]));
});
