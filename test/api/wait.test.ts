// `?wait=dataplane`: an answer that waits until the switches that a write concerns have confirmed it. test/integration has it with real ones.
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chassisTable, vifTable } from "#app";
import { Harness } from "../support/harness.ts";

interface Held {
  readonly status: number;
  // Tests look into answers freely; a wrong path fails the assertion that reads it.
  readonly body: any;
  readonly headers: Readonly<Record<string, any>>;
}

let harness: Harness;
let group: string;
let network: string;
const MEMBER = { "x-project-id": "p1", "x-roles": "member" };

beforeAll(async () => {
  harness = await Harness.make([], undefined, { api: { limits: { waits: { waiting: 4, ofProject: 2 } } } });
  for (const hv of ["hv1", "hv2", "hv3"]) await harness.addChassis(hv);
  network = (await harness.create("network", {}, MEMBER)).id;
  await harness.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, MEMBER);
  group = (await harness.create("security_group", { name: "g" }, MEMBER)).id;
  for (const hv of ["hv1", "hv2"]) await harness.plug(hv, (await harness.create("port", { network_id: network, security_groups: [group] }, MEMBER)).id, 1);
  await harness.settled();
  confirm();
});
afterAll(() => harness.close());

function confirm(...switches: string[]): void {
  for (const hv of switches.length > 0 ? switches : ["hv1", "hv2", "hv3"]) harness.confirm(hv);
}

async function ask(method: "GET" | "POST" | "PUT" | "DELETE", url: string, body?: object, headers: Record<string, string> = MEMBER): Promise<Held> {
  const answer = await harness.api.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) });
  return { status: answer.statusCode, body: answer.payload === "" ? undefined : JSON.parse(answer.payload), headers: answer.headers };
}
/** Under way, and whether it has been answered. */
function begin(asked: Promise<Held>): { answered: boolean; readonly answer: Promise<Held> } {
  const begun = { answered: false, answer: asked };
  void asked.then(() => (begun.answered = true));
  return begun;
}
let port = 1000;
const rule = (): { readonly security_group_rule: object } => ({ security_group_rule: { security_group_id: group, direction: "ingress", protocol: "tcp", port_range_min: ++port, port_range_max: port } });
const RULES = "/v2.0/security-group-rules?wait=dataplane";
async function compiled(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
  await harness.settled();
  for (let i = 0; i < 20; i++) await turn();
}

describe("?wait=dataplane", () => {
  test("answers when every switch that has the change has confirmed it, and not before", async () => {
    const held = begin(ask("POST", RULES, rule()));
    await compiled();
    expect(held.answered).toBe(false);
    confirm("hv1", "hv3");
    await compiled();
    expect(held.answered).toBe(false);
    confirm("hv2");
    const { status, headers, body } = await held.answer;
    expect([status, headers["x-axion-dataplane"], headers["x-axion-generation"], headers["x-axion-pending-count"]]).toEqual([201, "confirmed", String(harness.model.lastChange("security_group_rule", body.security_group_rule.id)!.generation), undefined]);
  });

  test("of a change of no switch, of several changes at once, of a removal", async () => {
    expect((await ask("POST", "/v2.0/networks?wait=dataplane", { network: {} })).headers["x-axion-dataplane"]).toBe("confirmed");
    const bulk = begin(ask("POST", RULES, { security_group_rules: [1, 2, 3].map(() => rule().security_group_rule) }));
    await compiled();
    expect(bulk.answered).toBe(false);
    confirm();
    const { body, headers } = await bulk.answer;
    expect([body.security_group_rules.length, headers["x-axion-dataplane"]]).toEqual([3, "confirmed"]);
    const gone = begin(ask("DELETE", `/v2.0/security-group-rules/${body.security_group_rules[0].id}?wait=dataplane`));
    await compiled();
    expect(gone.answered).toBe(false);
    confirm();
    const removed = await gone.answer;
    expect([removed.status, removed.headers["x-axion-dataplane"]]).toEqual([204, "confirmed"]);
  });

  test("says after the timeout how many have not, and to administrators which; the change is made", async () => {
    const seen = async (headers: Record<string, string>): Promise<unknown[]> => {
      const held = begin(ask("POST", `${RULES}&timeout=0.3`, rule(), headers));
      await compiled();
      confirm("hv1");
      const { status, headers: got, body } = await held.answer;
      expect((await ask("GET", `/v2.0/security-group-rules/${body.security_group_rule.id}`)).status).toBe(200);
      confirm();
      return [status, got["x-axion-dataplane"], got["x-axion-pending-count"], got["x-axion-pending-hosts"]];
    };
    expect(await seen(MEMBER)).toEqual([201, "pending", "1", undefined]);
    expect(await seen({ "x-project-id": "p1", "x-roles": "admin" })).toEqual([201, "pending", "1", "hv2"]);
  });

  test("waits no more for a host that is removed", async () => {
    await harness.addChassis("hv4");
    await harness.plug("hv4", (await harness.create("port", { network_id: network, security_groups: [group] }, MEMBER)).id, 1);
    await harness.settled();
    confirm("hv1", "hv2", "hv3", "hv4");
    const held = begin(ask("POST", RULES, rule()));
    await compiled();
    confirm("hv1", "hv2", "hv3");
    await compiled();
    expect(held.answered).toBe(false);
    const [vif] = [...harness.view.all(vifTable)].filter((v) => v.chassis === "hv4");
    await harness.unplug("hv4", vif!.iface_id);
    await harness.model.transact({ requestId: "", call: "" }, (tx) => tx.delete(chassisTable, "hv4"));
    await compiled();
    confirm();
    expect((await held.answer).headers["x-axion-dataplane"]).toBe("confirmed");
  });

  test.each([
    ["wait=everything", "wait"], ["wait=dataplane&wait=x", "wait"], ["wait=", "wait"], ["wait=dataplane&timeout=soon", "timeout"], ["wait=dataplane&timeout=-1", "timeout"], ["wait=dataplane&timeout=301", "timeout"],
    ["wait=dataplane&timeout=1&timeout=2", "timeout"], ["wait=dataplane&timeout=", "timeout"], ["wait=dataplane&timeout=1e2", "timeout"],
  ])("%s is refused by name, and changes nothing", async (query, named) => {
    const before = harness.model.generation;
    const { status, body } = await ask("POST", `/v2.0/networks?${query}`, { network: {} });
    expect([status, body.NeutronError.type, harness.model.generation]).toEqual([400, "InvalidInput", before]);
    expect(body.NeutronError.message).toContain(named);
  });

  test("so do writes by other ways into the API", async () => {
    const made = await ask("POST", "/v1.1/tenants/p1/networks.json?wait=dataplane", { network: { name: "n" } });
    expect([made.status, made.headers["x-axion-dataplane"]]).toEqual([202, "confirmed"]);
    const refused = await ask("POST", "/v1.1/tenants/p1/networks.json?wait=x", { network: { name: "n" } });
    expect(refused.status).toBe(400);
  });

  test("what is refused is refused at once, and reads do not wait", async () => {
    expect((await ask("POST", "/v2.0/ports?wait=dataplane", { port: {} })).status).toBe(400);
    expect((await ask("DELETE", "/v2.0/ports/none?wait=dataplane")).status).toBe(404);
    expect((await ask("GET", "/v2.0/networks")).headers["x-axion-dataplane"]).toBeUndefined();
  });

  test("only so many wait, of a project and of all; who is refused has changed nothing", async () => {
    const held = [begin(ask("POST", RULES, rule())), begin(ask("POST", RULES, rule()))];
    await compiled();
    const before = harness.model.generation;
    const third = await ask("POST", RULES, rule());
    expect([third.status, third.body.NeutronError.type, third.headers["retry-after"], harness.model.generation]).toEqual([429, "TooManyRequests", "1", before]);
    // Another project is not concerned, until there is no place at all.
    expect((await ask("POST", "/v2.0/networks?wait=dataplane", { network: {} }, { "x-project-id": "p2", "x-roles": "member" })).status).toBe(201);
    const admins = [1, 2].map(() => begin(ask("POST", RULES, rule(), { "x-project-id": "p1", "x-roles": "admin" })));
    await compiled();
    const full = await ask("POST", "/v2.0/networks?wait=dataplane", { network: {} }, { "x-project-id": "p2", "x-roles": "member" });
    expect([full.status, full.headers["retry-after"]]).toEqual([503, "1"]);
    confirm();
    for (const { answer } of [...held, ...admins]) expect((await answer).status).toBe(201);
    expect((await ask("POST", "/v2.0/networks?wait=dataplane", { network: {} })).status).toBe(201);
  });

  test("a client that goes away gives its place back", async () => {
    await harness.api.listen({ host: "127.0.0.1", port: 0 });
    const { port: at } = harness.api.server.address() as AddressInfo;
    const leave = async (): Promise<void> => {
      const before = harness.model.generation;
      const call = request({ host: "127.0.0.1", port: at, method: "POST", path: RULES, headers: { ...MEMBER, "content-type": "application/json" } });
      call.on("error", () => undefined);
      call.end(JSON.stringify(rule()));
      while (harness.model.generation === before) await turn();
      await compiled();
      call.destroy();
    };
    await leave();
    await leave();
    for (;;) {
      const held = begin(ask("POST", `${RULES}&timeout=0`, rule()));
      if ((await held.answer).status === 201) break;
    }
    confirm();
  });
});
