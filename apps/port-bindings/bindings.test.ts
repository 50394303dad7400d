// Bindings through the real API and engine; what Nova hears of them is tested in apps/nova, what packets see in test/integration/mobility/live-migration.test.ts.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness, textOf, type Answer } from "../../test/support/harness.ts";
import { arrivalTable, attachmentTable, inactiveBindingTable } from "../l2/model.ts";

const SERVER = "0d6a5b3e-7f0c-4f7e-9c39-2f4b8f0d1c11";
const member = { "x-project-id": "p1", "x-roles": "member" };
const service = { "x-project-id": "service", "x-roles": "service" };

let h: Harness;
let network: string;
beforeEach(async () => {
  h = await Harness.make();
  for (const host of ["hv1", "hv2", "hv3"]) await h.addChassis(host, { hostname: `${host}.example` });
  network = (await h.create("network", {}, member)).id;
  await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, member);
});
afterEach(async () => {
  await h.settled();
  expect(h.complaints).toEqual([]);
  await h.close();
});

const port = async (values: Record<string, unknown> = {}): Promise<string> =>
  (await h.create("port", { network_id: network, project_id: "p1", device_id: SERVER, device_owner: "compute:nova", "binding:host_id": "hv1", ...values })).id;
const url = (id: string, rest = ""): string => `/v2.0/ports/${id}/bindings${rest}`;
const bind = (id: string, host: string, values: Record<string, unknown> = {}, who: Record<string, string> = service): Promise<Answer> => h.call("POST", url(id), { binding: { host, ...values } }, who);
const activate = (id: string, host: string, who: Record<string, string> = service): Promise<Answer> => h.call("PUT", url(id, `/${host}/activate`), undefined, who);
const hosts = async (id: string): Promise<Record<string, string>> => {
  const { bindings } = (await h.call("GET", url(id), undefined, service)).body as { bindings: { host: string; status: string }[] };
  return Object.fromEntries(bindings.map((b) => [b.host, b.status]));
};
const shown = async (id: string): Promise<Record<string, any>> => ((await h.call("GET", `/v2.0/ports/${id}`)).body as { port: Record<string, any> }).port;
const refusal = ({ status, body }: Answer): [number, string] => [status, (body as { NeutronError: { type: string } } | undefined)?.NeutronError.type ?? ""];
const plug = async (host: string, id: string, ofport = 5): Promise<void> => {
  await h.plug(host, id, ofport);
  await h.installed(host, id);
  await h.settled();
};
/** What a switch has of a port as sender and as receiver: its flows of classify, and of locate. */
const onSwitch = async (host: string, id: string): Promise<{ readonly sends: boolean; readonly hears: boolean } | undefined> => {
  await h.settled();
  const at = h.view.by(attachmentTable, "port", id).find((a) => a.chassis === host);
  if (at === undefined) return undefined;
  const flows = (table: string, text: string): string[] => {
    const n = h.layout.table(table).id;
    return [...h.engine.flowsOf(host)].filter((f) => f.table === n).map(textOf).filter((f) => f.includes(text));
  };
  const [classify] = flows("classify", `in_port=${at.ofport},`);
  const key = `0x${at.port_key.toString(16)}`;
  const locate = flows("locate", "priority=200,").filter((f) => new RegExp(`[=,]${key}[ ,]`).test(f));
  expect([classify === undefined, locate.length === 0]).toEqual([false, false]);
  return { sends: !classify!.endsWith("actions=drop"), hears: !locate.some((f) => f.endsWith("actions=drop")) };
};
const status = (id: string, host: string): string | undefined => h.view.by(inactiveBindingTable, "port", id).find((b) => b.host === host)?.wired_at;

describe("the resource", () => {
  test("is made, shown, listed, filtered, changed and deleted", async () => {
    const id = await port({ "binding:profile": { a: 1 } });
    const made = await bind(id, "hv2", { vnic_type: "direct", profile: { b: 2 } });
    const binding = {
      host: "hv2", vif_type: "ovs", vif_details: { port_filter: true, connectivity: "l2", bridge_name: "br-int", datapath_type: "netdev", ovs_hybrid_plug: false },
      vnic_type: "direct", profile: { b: 2 }, status: "INACTIVE", project_id: "p1", tenant_id: "p1",
    };
    expect([made.status, made.body]).toEqual([201, { binding }]);
    expect((await h.call("GET", url(id, "/hv2"), undefined, service)).body).toEqual({ binding });
    expect((await h.call("GET", url(id, "/hv1"), undefined, service)).body.binding).toMatchObject({ host: "hv1", status: "ACTIVE", profile: { a: 1 }, vif_type: "ovs" });
    expect(await hosts(id)).toEqual({ hv1: "ACTIVE", hv2: "INACTIVE" });
    for (const [query, want] of [["status=INACTIVE", ["hv2"]], ["host=hv1", ["hv1"]], ["vnic_type=direct&vif_type=ovs", ["hv2"]], ["host=hv9", []]] as const) {
      const { bindings } = (await h.call("GET", `${url(id)}?${query}&fields=host`, undefined, service)).body as { bindings: unknown[] };
      expect(bindings, query).toEqual(want.map((host) => ({ host })));
    }
    const changed = await h.call("PUT", url(id, "/hv2"), { binding: { profile: null, vnic_type: "normal" } }, service);
    expect(changed.body.binding).toEqual({ ...binding, vnic_type: "normal", profile: {} });
    expect((await h.call("PUT", url(id, "/hv2"), { binding: { host: "hv3" } }, service)).body.binding).toMatchObject({ host: "hv3", status: "INACTIVE" });
    expect((await h.call("PUT", url(id, "/hv1"), { binding: { profile: { c: 3 } } }, service)).body.binding).toMatchObject({ host: "hv1", status: "ACTIVE", profile: { c: 3 } });
    expect(await shown(id)).toMatchObject({ "binding:host_id": "hv1", "binding:profile": { c: 3 } });
    expect((await h.call("DELETE", url(id, "/hv3"), undefined, service)).status).toBe(204);
    expect(await hosts(id)).toEqual({ hv1: "ACTIVE" });
    expect((await h.call("DELETE", url(id, "/hv1"), undefined, service)).status).toBe(204);
    expect([await hosts(id), (await shown(id))["binding:vif_type"]]).toEqual([{}, "unbound"]);
  });

  test("what cannot be is refused, and changes nothing", async () => {
    const id = await port();
    const other = await port({ device_owner: "" });
    await bind(id, "hv2");
    const before = h.model.generation;
    for (const [answer, want] of [
      [bind(id, "hv2"), [409, "PortBindingAlreadyExists"]],
      [bind(id, "hv1"), [409, "PortBindingAlreadyExists"]],
      // The same hosts by another name.
      [bind(id, "hv2.example"), [409, "PortBindingAlreadyExists"]],
      [bind(id, "hv1.example"), [409, "PortBindingAlreadyExists"]],
      [h.call("PUT", url(id, "/hv2"), { binding: { host: "hv1" } }, service), [409, "PortBindingAlreadyExists"]],
      [bind(id, "hv9"), [409, "PortBindingError"]],
      [h.call("PUT", url(id, "/hv2"), { binding: { host: "hv9" } }, service), [409, "PortBindingError"]],
      [bind(id, ""), [400, "HTTPBadRequest"]],
      [bind(id, null as unknown as string), [400, "HTTPBadRequest"]],
      [bind(id, "x".repeat(256)), [400, "HTTPBadRequest"]],
      [bind(id, "hv3", { vnic_type: "best" }), [400, "HTTPBadRequest"]],
      [bind(id, "hv3", { profile: "best" }), [400, "HTTPBadRequest"]],
      [bind(id, "hv3", { status: "ACTIVE" }), [400, "HTTPBadRequest"]],
      [h.call("POST", url(id), { binding: {} }, service), [400, "HTTPBadRequest"]],
      [activate(id, "hv1"), [409, "PortBindingAlreadyActive"]],
      [activate(id, "hv3"), [404, "PortBindingNotFound"]],
      [h.call("GET", url(id, "/hv3"), undefined, service), [404, "PortBindingNotFound"]],
      [h.call("DELETE", url(id, "/hv3"), undefined, service), [404, "PortBindingNotFound"]],
      [h.call("PUT", url(id, "/hv3"), { binding: { profile: {} } }, service), [404, "PortBindingNotFound"]],
      [bind(other, "hv2"), [400, "BadRequest"]],
      [h.call("GET", url(other), undefined, service), [400, "BadRequest"]],
      [activate(other, "hv2"), [400, "BadRequest"]],
      [bind(SERVER, "hv2"), [404, "PortNotFound"]],
      [h.call("GET", url(SERVER, "/hv1"), undefined, service), [404, "PortNotFound"]],
    ] as const) expect(refusal(await answer)).toEqual(want);
    expect(h.model.generation).toBe(before);
    await h.create("port", { network_id: network });
    for (let n = 0; n < 7; n++) {
      await h.addChassis(`more${n}`);
      expect((await bind(id, `more${n}`)).status).toBe(201);
    }
    expect(refusal(await bind(id, "hv3"))).toEqual([409, "PortBindingError"]);
  });

  test("tenants see none of it, of their own ports either", async () => {
    const id = await port();
    await bind(id, "hv2");
    const stranger = { "x-project-id": "p2", "x-roles": "member" };
    const before = h.model.generation;
    expect((await h.call("GET", url(id), undefined, member)).body).toEqual({ bindings: [] });
    for (const [method, rest, body] of [["GET", "/hv2", undefined], ["PUT", "/hv2", { binding: { profile: {} } }], ["DELETE", "/hv2", undefined], ["PUT", "/hv2/activate", undefined]] as const) {
      expect(refusal(await h.call(method, url(id, rest), body, member)), `${method} ${rest}`).toEqual([404, "PortBindingNotFound"]);
      expect(refusal(await h.call(method, url(id, rest), body, stranger)), `${method} ${rest}`).toEqual([404, "PortNotFound"]);
    }
    const refused = await bind(id, "hv3", {}, member);
    expect([...refusal(refused), (refused.body as { NeutronError: { message: string } }).NeutronError.message]).toEqual([403, "PolicyNotAuthorized", "rule:create_port_binding is disallowed by policy"]);
    expect(refusal(await bind(id, "hv3", {}, stranger))).toEqual([404, "PortNotFound"]);
    expect(refusal(await h.call("GET", url(id), undefined, stranger))).toEqual([404, "PortNotFound"]);
    expect(h.model.generation).toBe(before);
  });
});

describe("a live migration", () => {
  test("step by step: wired, activated, cleaned up; the port stays ACTIVE", async () => {
    const id = await port();
    await plug("hv1", id);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv1" });
    await bind(id, "hv2", { profile: { to: 2 } });
    expect(await onSwitch("hv2", id)).toBeUndefined();
    await h.plug("hv2", id, 7);
    expect(status(id, "hv2")).toBeUndefined();
    expect([await onSwitch("hv1", id), await onSwitch("hv2", id)]).toEqual([{ sends: true, hears: true }, { sends: false, hears: false }]);
    await h.installed("hv2", id);
    expect(status(id, "hv2")).toBeDefined();
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv1" });

    const third = [...h.engine.flowsOf("hv3")].length;
    const answer = await activate(id, "hv2");
    expect([answer.status, answer.body.binding]).toEqual([200, expect.objectContaining({ host: "hv2", status: "ACTIVE", profile: { to: 2 } })]);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv2", "binding:profile": { to: 2 } });
    expect(await hosts(id)).toEqual({ hv1: "INACTIVE", hv2: "ACTIVE" });
    expect([await onSwitch("hv1", id), await onSwitch("hv2", id)]).toEqual([{ sends: false, hears: false }, { sends: true, hears: true }]);
    expect([...h.engine.flowsOf("hv3")].length).toBe(third);
    expect(refusal(await activate(id, "hv2"))).toEqual([409, "PortBindingAlreadyActive"]);

    await h.unplug("hv1", id);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE" });
    expect((await h.call("DELETE", url(id, "/hv1"), undefined, service)).status).toBe(204);
    const [before, { generation }] = [await shown(id), h.model];
    await h.call("PUT", `/v2.0/ports/${id}`, { port: { "binding:host_id": "hv2", device_owner: "compute:az2" } }, service);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv2", revision_number: (before.revision_number as number) + 1 });
    expect(h.model.generation).toBe(generation + 1);
    expect(await hosts(id)).toEqual({ hv2: "ACTIVE" });
  });

  test("hosts that send to the port need no change when it moves", async () => {
    const id = await port();
    await plug("hv1", id);
    await plug("hv3", await port({ "binding:host_id": "hv3" }), 9);
    await bind(id, "hv2");
    await plug("hv2", id, 7);
    const flows = (): string[] => [...h.engine.flowsOf("hv3")].map(textOf).filter((f) => f.startsWith("priority=104,"));
    const before = flows();
    expect(before).toHaveLength(1);
    await activate(id, "hv2");
    await h.settled();
    expect(flows()).toEqual(before);
  });

  test("on a physical network who is beside the place where it is not reaches it all the same; nothing of it is sent twice", async () => {
    for (const [n, host] of ["hv1", "hv2", "hv3"].entries()) await h.addChassis(host, { key: n + 1, hostname: `${host}.example`, bridge_mappings: { physnet: "br-ex" } });
    network = (await h.create("network", { "provider:network_type": "vlan", "provider:physical_network": "physnet", "provider:segmentation_id": 7, shared: true })).id;
    const id = await port();
    await plug("hv1", id);
    for (const host of ["hv2", "hv3"]) await plug(host, await port({ "binding:host_id": host }), 9);
    await bind(id, "hv2");
    await plug("hv2", id, 7);
    const aside = (host: string): string[] => [...h.engine.flowsOf(host)].filter((f) => f.table === h.layout.table("l2_lookup").id).map(textOf).filter((f) => f.startsWith("priority=104,"));
    expect(["hv1", "hv2", "hv3"].map((host) => aside(host).length)).toEqual([0, 1, 0]);
    await activate(id, "hv2");
    await h.settled();
    expect(["hv1", "hv2", "hv3"].map((host) => aside(host).length)).toEqual([1, 0, 0]);
    expect((await h.call("DELETE", url(id, "/hv1"), undefined, service)).status).toBe(204);
    await h.settled();
    expect(["hv1", "hv2", "hv3"].map((host) => aside(host).length)).toEqual([0, 0, 0]);
    expect(h.engine.conflicts).toEqual([]);
  });

  test("for a minute it is new at its host: segments of connections under way get through there, and nothing that opens one", async () => {
    const id = await port();
    await plug("hv1", id);
    await bind(id, "hv2");
    await plug("hv2", id, 7);
    const through = (): string[] => {
      const n = h.layout.table("sg_in").id;
      return [...h.engine.flowsOf("hv2")].filter((f) => f.table === n).map(textOf).filter((f) => f.startsWith("priority=7,"));
    };
    expect(through()).toEqual([]);
    await activate(id, "hv2");
    await h.settled();
    expect(through()).toHaveLength(2);
    for (const flow of through()) expect(flow).toMatch(/tcp_flags=-syn-rst\+ack|tcp_flags=.*\+ack/);
    // A controller that starts meanwhile ends it as well.
    await h.clock.run(30_000);
    h = await h.restart();
    await h.clock.run(25_000);
    await h.settled();
    expect(through()).toHaveLength(2);
    await h.clock.run(10_000);
    await h.settled();
    expect([through(), [...h.view.all(arrivalTable)]]).toEqual([[], []]);
  });

  test("announced from where it is: three times, by a reverse ARP request", async () => {
    const id = await port();
    await plug("hv1", id);
    await bind(id, "hv2");
    await plug("hv2", id, 7);
    await activate(id, "hv2");
    await h.settled();
    await h.clock.run(10_000);
    const sent = h.sent.filter(({ app }) => app === "port-bindings").map(({ packet }) => packet as { chassis: string; data: Uint8Array });
    expect(sent.map((p) => [p.chassis, Buffer.from(p.data).subarray(12, 22).toString("hex")])).toEqual(Array.from({ length: 3 }, () => ["hv2", "80350001080006040003"]));
  });
});

describe("other orders", () => {
  test("the interface is there before the binding", async () => {
    const id = await port({ "binding:host_id": "" });
    await plug("hv1", id);
    await plug("hv2", id, 7);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv1" });
    await bind(id, "hv2");
    await h.installed("hv2", id);
    expect(status(id, "hv2")).toBeDefined();
    // It is nowhere, not where nobody activated it.
    await h.unplug("hv1", id);
    expect(await shown(id)).toMatchObject({ status: "DOWN" });
    expect((await activate(id, "hv2")).status).toBe(200);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv2" });
  });

  test("the old host unplugs first: down, and up again with the activation", async () => {
    const id = await port();
    await plug("hv1", id);
    await bind(id, "hv2");
    await plug("hv2", id, 7);
    await h.unplug("hv1", id);
    expect(await shown(id)).toMatchObject({ status: "DOWN", "binding:host_id": "hv1" });
    await activate(id, "hv2");
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv2" });
  });

  test("the destination is never plugged: the port is down there until it is, or goes back", async () => {
    const id = await port();
    await plug("hv1", id);
    await bind(id, "hv2");
    await activate(id, "hv2");
    expect(await shown(id)).toMatchObject({ status: "DOWN", "binding:host_id": "hv2" });
    expect(await onSwitch("hv1", id)).toEqual({ sends: false, hears: false });
    await activate(id, "hv1");
    expect(await shown(id)).toMatchObject({ "binding:host_id": "hv1", status: "ACTIVE" });
    expect(await onSwitch("hv1", id)).toEqual({ sends: true, hears: true });
  });

  test("cancelled: nothing of the destination is left", async () => {
    const id = await port();
    await plug("hv1", id);
    const before = await Promise.all(["hv1", "hv2"].map(async (host) => (await h.settled(), [...h.engine.flowsOf(host)].map(textOf).sort())));
    await bind(id, "hv2");
    await plug("hv2", id, 7);
    await h.call("DELETE", url(id, "/hv2"), undefined, service);
    await h.settled();
    expect(["hv1", "hv2"].map((host) => [...h.engine.flowsOf(host)].map(textOf).sort())).toEqual(before);
    await h.unplug("hv2", id);
    expect(await shown(id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv1" });
  });

  test("host_id changed while there are two: that of the new host is the active one, others stay", async () => {
    const id = await port();
    await plug("hv1", id);
    await bind(id, "hv2");
    await bind(id, "hv3");
    await plug("hv2", id, 7);
    await h.call("PUT", `/v2.0/ports/${id}`, { port: { "binding:host_id": "hv2.example" } }, service);
    expect(await hosts(id)).toEqual({ "hv2.example": "ACTIVE", hv3: "INACTIVE" });
    await h.installed("hv2", id);
    expect([await onSwitch("hv1", id), await onSwitch("hv2", id), (await shown(id)).status]).toEqual([undefined, { sends: true, hears: true }, "ACTIVE"]);
  });

  test("the port is deleted, or goes while the app is not there", async () => {
    const [id, other] = [await port(), await port()];
    for (const p of [id, other]) await bind(p, "hv2");
    await plug("hv2", id, 7);
    await h.call("DELETE", `/v2.0/ports/${id}`);
    expect(h.view.by(inactiveBindingTable, "port", id)).toEqual([]);
    h = await h.restart(["port-bindings"]);
    await h.call("DELETE", `/v2.0/ports/${other}`);
    h = await h.restart([]);
    expect([...h.view.all(inactiveBindingTable)]).toEqual([]);
  });

  test("moved by its profile: wired where it moves to, shown by nobody, there when host_id says so", async () => {
    const id = await port();
    await plug("hv1", id);
    const change = (values: Record<string, unknown>): Promise<Answer> => h.call("PUT", `/v2.0/ports/${id}`, { port: values }, service);
    await change({ "binding:profile": { migrating_to: "hv2" } });
    await h.plug("hv2", id, 7);
    await h.installed("hv2", id);
    expect(await onSwitch("hv2", id)).toEqual({ sends: false, hears: false });
    expect(status(id, "hv2")).toBeDefined();
    expect([await hosts(id), refusal(await h.call("GET", url(id, "/hv2"), undefined, service))]).toEqual([{ hv1: "ACTIVE" }, [404, "PortBindingNotFound"]]);
    await change({ "binding:host_id": "hv2", "binding:profile": {} });
    expect(await onSwitch("hv2", id)).toEqual({ sends: true, hears: true });
    expect([...h.view.all(inactiveBindingTable)]).toEqual([]);
    // Cancelled, or to nowhere.
    await change({ "binding:profile": { migrating_to: "hv1" } });
    await change({ "binding:profile": { migrating_to: ["hv9"] } });
    await change({ "binding:profile": { migrating_to: "hv9" } });
    expect([...h.view.all(inactiveBindingTable)]).toEqual([]);
  });
});
