import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";

let h: Harness;
beforeAll(async () => {
  h = await Harness.make();
  await h.addChassis("hv0", { bridge_mappings: { physnet1: "br-ex" } });
});
afterAll(() => h.close());

const OWNER = { "x-project-id": "p1", "x-roles": "member,reader" };
const OTHER = { "x-project-id": "p2", "x-roles": "member,reader" };
const READER = { "x-project-id": "p1", "x-roles": "reader" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";
interface Made {
  readonly id: string;
  readonly mac_address: string;
}
type Values = Record<string, unknown>;

async function call(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown, who: Record<string, string> = OWNER): Promise<{ status: number; body: Record<string, Values & Made> }> {
  return (await h.call(method, `/v2.0/${path}`, body, who));
}
const make = async (kind: string, values: Values, who = OWNER): Promise<Values & Made> => {
  const answer = await call("POST", `${kind}s`, { [kind]: values }, who);
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer.body[kind]!;
};
const network = (values: Values = {}, who = OWNER): Promise<Made> => make("network", values, who);
const port = async (on?: Made, values: Values = {}, who = OWNER): Promise<Made> => make("port", { network_id: (on ?? (await network({}, who))).id, ...values }, who);
const vlan = (at: Made, id: unknown): Values => ({ port_id: at.id, segmentation_type: "vlan", segmentation_id: id });
const add = (trunk: Made, sub_ports: unknown, who = OWNER) => call("PUT", `trunks/${trunk.id}/add_subports`, { sub_ports }, who);
const remove = (trunk: Made, sub_ports: unknown, who = OWNER) => call("PUT", `trunks/${trunk.id}/remove_subports`, { sub_ports }, who);
const shown = async (kind: string, id: string): Promise<Values> => (await call("GET", `${kind}s/${id}`)).body[kind]!;
/** What refuses it, which changes nothing. */
async function refused(asked: () => Promise<{ status: number; body: unknown }>): Promise<string> {
  await h.settled();
  const before = h.model.generation;
  const { status, body } = await asked();
  expect(h.model.generation, "it has changed something").toBe(before);
  return `${status} ${(body as { NeutronError: { type: string } }).NeutronError.type}`;
}
const message = async (asked: Promise<{ body: unknown }>): Promise<string> => ((await asked).body as { NeutronError: { message: string } }).NeutronError.message;

test("a trunk is made with sub-ports, shows them, gets more and loses some; its ports show whose they are", async () => {
  const [parent, a, b, c] = [await port(), await port(), await port(), await port()];
  const trunk = await make("trunk", { port_id: parent.id, name: "t", description: "d", sub_ports: [vlan(b, 200), vlan(a, "100")] });
  expect(trunk).toMatchObject({ name: "t", description: "d", admin_state_up: true, project_id: "p1", tenant_id: "p1", status: "DOWN", port_id: parent.id, tags: [], sub_ports: [vlan(a, 100), vlan(b, 200)] });
  expect(await shown("port", a.id)).toMatchObject({ device_owner: "trunk:subport", device_id: trunk.id, status: "DOWN" });
  expect(await shown("port", a.id)).not.toHaveProperty("trunk_details");
  expect((await shown("port", parent.id)).trunk_details).toEqual({ trunk_id: trunk.id, sub_ports: [{ ...vlan(a, 100), mac_address: a.mac_address }, { ...vlan(b, 200), mac_address: b.mac_address }] });
  const before = trunk.revision_number as number;
  // As other servers answer: the trunk itself, without its name around it.
  const added = await add(trunk, [vlan(c, 300)]);
  expect(added).toMatchObject({ status: 200, body: { id: trunk.id, revision_number: before + 1, tenant_id: "p1", tags: [], sub_ports: [vlan(a, 100), vlan(b, 200), vlan(c, 300)] } });
  expect(new Set(Object.keys(added.body))).toEqual(new Set(Object.keys(await shown("trunk", trunk.id))));
  expect(await call("GET", `trunks/${trunk.id}/get_subports`, undefined, READER)).toMatchObject({ status: 200, body: { sub_ports: [vlan(a, 100), vlan(b, 200), vlan(c, 300)] } });
  expect(await remove(trunk, [{ port_id: a.id }, vlan(b, 200)])).toMatchObject({ status: 200, body: { sub_ports: [vlan(c, 300)] } });
  expect(await shown("port", a.id)).toMatchObject({ device_owner: "", device_id: "" });
  expect((await add(trunk, [])).body).toMatchObject({ revision_number: before + 2 });
  // What it had is free again.
  expect((await add(trunk, [vlan(a, 200)])).status).toBe(200);
  for (const query of [`port_id=${parent.id}`, `id=${trunk.id}`, "name=t&status=DOWN&admin_state_up=true"]) expect((await call("GET", `trunks?${query}`)).body.trunks, query).toMatchObject([{ id: trunk.id }]);
  expect((await call("GET", `trunks?port_id=${a.id}`)).body.trunks).toEqual([]);
  expect((await call("PUT", `trunks/${trunk.id}`, { trunk: { name: "u", admin_state_up: false } })).body.trunk).toMatchObject({ name: "u", admin_state_up: false });
  expect((await call("PUT", `trunks/${trunk.id}`, { trunk: { admin_state_up: true } })).status).toBe(200);
  expect((await call("DELETE", `trunks/${trunk.id}`)).status).toBe(204);
  expect(await shown("port", c.id)).toMatchObject({ device_owner: "", device_id: "" });
  expect(await shown("port", parent.id)).not.toHaveProperty("trunk_details");
  for (const { id } of [parent, a, b, c]) expect((await call("DELETE", `ports/${id}`)).status).toBe(204);
});

test("each tag and each port is in one trunk once", async () => {
  const [parent, other, a, b] = [await port(), await port(), await port(), await port()];
  const trunk = await make("trunk", { port_id: parent.id, sub_ports: [vlan(a, 100)] });
  const second = await make("trunk", { port_id: other.id });
  expect(await refused(() => add(trunk, [vlan(b, 100)]))).toBe("409 DuplicateSubPort");
  expect(await refused(() => add(second, [vlan(a, 5)]))).toBe("409 TrunkPortInUse");
  expect(await refused(() => add(trunk, [vlan(a, 101)]))).toBe("409 TrunkPortInUse");
  expect(await refused(() => add(trunk, [vlan(b, 7), vlan(parent, 6)])), "all or none").toBe("409 ParentPortInUse");
  expect(await refused(() => add(trunk, [vlan(other, 6)]))).toBe("409 ParentPortInUse");
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: parent.id } }))).toBe("409 ParentPortInUse");
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: a.id } }))).toBe("409 TrunkPortInUse");
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: b.id, sub_ports: [vlan(b, 9)] } }))).toBe("409 ParentPortInUse");
  expect(await refused(() => remove(trunk, [{ port_id: b.id }]))).toBe("404 SubPortNotFound");
  expect(await refused(() => remove(second, [{ port_id: a.id }]))).toBe("404 SubPortNotFound");
  expect(await refused(() => call("DELETE", `ports/${parent.id}`))).toBe("409 PortInUseAsTrunkParent");
  expect(await refused(() => call("DELETE", `ports/${a.id}`))).toBe("409 PortInUseAsSubPort");
  // The same tag in another trunk is another.
  expect((await add(second, [vlan(b, 100)])).status).toBe(200);
});

test("what names no sub-port is refused, by the place where it stands", async () => {
  const [parent, a, b] = [await port(), await port(), await port()];
  const trunk = await make("trunk", { port_id: parent.id });
  const bad: [unknown, string][] = [
    [undefined, "400 HTTPBadRequest"], ["x", "400 HTTPBadRequest"], [[5], "400 HTTPBadRequest"], [[{}], "400 HTTPBadRequest"], [[{ port_id: "x" }], "400 HTTPBadRequest"], [[{ ...vlan(a, 5), more: 1 }], "400 HTTPBadRequest"],
    [[{ port_id: a.id }], "400 InvalidInput"], [[{ port_id: a.id, segmentation_id: 5 }], "400 InvalidInput"], [[{ port_id: a.id, segmentation_type: "vlan" }], "400 InvalidInput"],
    [[{ ...vlan(a, 5), segmentation_type: "vxlan" }], "400 InvalidInput"], [[vlan(a, 0)], "400 InvalidInput"], [[vlan(a, 4095)], "400 InvalidInput"], [[vlan(a, -1)], "400 InvalidInput"], [[vlan(a, "many")], "400 InvalidInput"],
    [[vlan(a, 5), vlan(a, 6)], "400 HTTPBadRequest"], [[vlan(a, 5), vlan(b, 5)], "400 InvalidInput"], [[vlan({ ...a, id: UNKNOWN }, 5)], "404 PortNotFound"], [[{ port_id: a.id, segmentation_type: "inherit" }], "400 InvalidInput"],
  ];
  for (const [sub_ports, wanted] of bad) {
    expect(await refused(() => add(trunk, sub_ports)), JSON.stringify(sub_ports)).toBe(wanted);
    if (sub_ports !== undefined) expect(await refused(() => call("POST", "trunks", { trunk: { port_id: b.id, sub_ports } })), JSON.stringify(sub_ports)).toBe(wanted);
  }
  expect(await message(add(trunk, [vlan(a, 5), { port_id: b.id, segmentation_type: "vlan" }]))).toContain(`sub_ports[1] of port ${b.id} has no segmentation_id`);
  for (const trunkOf of [{}, { port_id: "x" }, { port_id: parent.id, status: "ACTIVE" }]) expect(await refused(() => call("POST", "trunks", { trunk: trunkOf }))).toMatch(/^400 /);
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: UNKNOWN } }))).toBe("404 PortNotFound");
  // The form comes first, whatever there is of what it names.
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: UNKNOWN, sub_ports: [vlan(a, 5), vlan(b, 5)] } }))).toBe("400 InvalidInput");
  expect(await refused(() => call("PUT", `trunks/${trunk.id}`, { trunk: { port_id: a.id } }))).toMatch(/^400 /);
  expect(await refused(() => call("GET", `trunks/${UNKNOWN}/get_subports`))).toBe("404 TrunkNotFound");
});

test("ports that are used otherwise are none of a trunk", async () => {
  const on = await network();
  const parent = await port();
  const trunk = await make("trunk", { port_id: parent.id });
  const used = await port(on, { device_id: "some-server" });
  expect(await refused(() => add(trunk, [vlan(used, 5)]))).toBe("409 PortInUse");
  const subnet = await make("subnet", { network_id: on.id, ip_version: 4, cidr: "10.0.0.0/24" });
  const router = await make("router", {});
  const leg = await call("PUT", `routers/${router.id}/add_router_interface`, { subnet_id: subnet.id });
  const its = { id: leg.body.port_id as unknown as string, mac_address: "" };
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: its.id } }))).toBe("409 ParentPortInUse");
  expect(await refused(() => add(trunk, [vlan(its, 5)]))).toBe("409 PortInUse");
  // Nor is a sub-port an interface of a router.
  const sub = await port(on);
  expect((await add(trunk, [vlan(sub, 5)])).status).toBe(200);
  expect(await refused(() => call("PUT", `routers/${router.id}/add_router_interface`, { port_id: sub.id }))).toBe("409 PortInUse");
});

test("packets of a sub-port fit its parent's interface; tags of others never pass there", async () => {
  const [wide, narrow] = [await network({ mtu: 1400 }), await network({ mtu: 1300 })];
  const parent = await port(narrow);
  const trunk = await make("trunk", { port_id: parent.id });
  const large = await port(wide);
  expect(await refused(() => add(trunk, [vlan(large, 5)]))).toBe("409 SubPortMtuGreaterThanTrunkPortMtu");
  // What is only being made has no name yet that anybody could look for.
  const { body } = await call("POST", "trunks", { trunk: { port_id: (await port(narrow)).id, sub_ports: [vlan(large, 5)] } });
  for (const [id] of JSON.stringify(body).matchAll(/[0-9a-f-]{36}/g)) expect((await call("GET", `ports/${id}`)).status, id).toBe(200);
  expect((await add(trunk, [vlan(await port(narrow), 5)])).status).toBe(200);
  const transparent = await port(await network({ vlan_transparent: true }));
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: transparent.id } }))).toBe("409 TrunkParentTransparent");
});

test("inherit is the VLAN of the port's network", async () => {
  const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };
  const physical = await network({ "provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 77, mtu: 1400 }, ADMIN);
  const [parent, sub, again] = [await port(undefined, {}, ADMIN), await port(physical, {}, ADMIN), await port(physical, {}, ADMIN)];
  const inherit = (at: Made): Values => ({ port_id: at.id, segmentation_type: "inherit", segmentation_id: -1 });
  const trunk = await make("trunk", { port_id: parent.id, sub_ports: [inherit(sub)] }, ADMIN);
  expect(trunk.sub_ports).toEqual([vlan(sub, 77)]);
  expect(await refused(() => add(trunk, [inherit(again)], ADMIN))).toBe("409 DuplicateSubPort");
  expect((await call("DELETE", `trunks/${trunk.id}`, undefined, ADMIN)).status).toBe(204);
});

test("of a trunk that is down nothing is changed but that", async () => {
  const [parent, a, b] = [await port(), await port(), await port()];
  const trunk = await make("trunk", { port_id: parent.id, admin_state_up: false, sub_ports: [vlan(a, 5)] });
  for (const ask of [() => add(trunk, [vlan(b, 6)]), () => remove(trunk, [{ port_id: a.id }]), () => call("DELETE", `trunks/${trunk.id}`)]) expect(await refused(ask)).toBe("409 TrunkDisabled");
  await call("PUT", `trunks/${trunk.id}`, { trunk: { admin_state_up: true } });
  expect((await call("DELETE", `trunks/${trunk.id}`)).status).toBe(204);
});

test("whose it is: others neither see it nor put its ports, or theirs, anywhere", async () => {
  const [parent, a] = [await port(), await port()];
  const trunk = await make("trunk", { port_id: parent.id, sub_ports: [vlan(a, 5)] });
  expect((await call("GET", "trunks", undefined, OTHER)).body.trunks).toEqual([]);
  for (const ask of [() => add(trunk, [], OTHER), () => call("GET", `trunks/${trunk.id}`, undefined, OTHER), () => call("DELETE", `trunks/${trunk.id}`, undefined, OTHER), () => call("GET", `trunks/${trunk.id}/get_subports`, undefined, OTHER)]) {
    expect(await refused(ask)).toBe("404 TrunkNotFound");
  }
  const theirs = await port(undefined, {}, OTHER);
  expect(await refused(() => add(trunk, [vlan(theirs, 6)]))).toBe("404 PortNotFound");
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: theirs.id } }))).toBe("404 PortNotFound");
  for (const ask of [() => add(trunk, [], READER), () => call("POST", "trunks", { trunk: { port_id: a.id } }, READER)]) expect(await refused(ask)).toMatch(/^403 /);
  // On a network of his, a port of another's is to be seen, and is not his to take.
  const shared = await make("network", { shared: true }, { "x-project-id": "p1", "x-roles": "admin" });
  const guest = await port(shared, {}, OTHER);
  expect(await refused(() => add(trunk, [vlan(guest, 6)]))).toBe("400 BadRequest");
  expect(await refused(() => call("POST", "trunks", { trunk: { port_id: guest.id } }))).toBe("400 BadRequest");
});

describe("where a trunk is", () => {
  const status = async (trunk: Made): Promise<unknown> => (await shown("trunk", trunk.id)).status;
  const becomes = (trunk: Made, wanted: string): Promise<void> => expect.poll(() => status(trunk)).toBe(wanted);

  test("its status, and that of its sub-ports, follows its parent's interface", async () => {
    await h.addChassis("hv1");
    const [parent, a, b] = [await port(), await port(), await port()];
    const trunk = await make("trunk", { port_id: parent.id, sub_ports: [vlan(a, 100)] });
    await h.plug("hv1", parent.id, 5);
    await becomes(trunk, "BUILD");
    await h.settled();
    h.confirm("hv1");
    await h.installed("hv1", parent.id);
    await becomes(trunk, "ACTIVE");
    const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };
    const bound = async (at: Made): Promise<string> => {
      const its = (await call("GET", `ports/${at.id}`, undefined, ADMIN)).body.port!;
      return [its.status, its["binding:host_id"], its["binding:vif_type"]].join(" ");
    };
    expect(await bound(a)).toBe("ACTIVE hv1 ovs");
    // A sub-port is where its parent is, and nowhere else.
    expect((await call("PUT", `ports/${a.id}`, { port: { "binding:host_id": "hv2" } }, ADMIN)).status).toBe(200);
    await expect.poll(() => bound(a)).toBe("ACTIVE hv1 ovs");
    await add(trunk, [vlan(b, 200)]);
    await becomes(trunk, "BUILD");
    await h.settled();
    h.confirm("hv1");
    await becomes(trunk, "ACTIVE");
    for (const closed of [false, true]) {
      await call("PUT", `ports/${b.id}`, { port: { admin_state_up: closed } });
      await expect.poll(async () => (await shown("port", b.id)).status).toBe(closed ? "BUILD" : "DOWN");
      if (!closed) await becomes(trunk, "ACTIVE");
    }
    await h.settled();
    h.confirm("hv1");
    await becomes(trunk, "ACTIVE");
    expect(await refused(() => call("DELETE", `trunks/${trunk.id}`))).toBe("409 TrunkInUse");
    expect(await refused(() => call("POST", "trunks", { trunk: { port_id: a.id } }))).toBe("409 TrunkPortInUse");
    await remove(trunk, [{ port_id: b.id }]);
    await expect.poll(() => bound(b)).toBe("DOWN  unbound");
    await call("PUT", `ports/${parent.id}`, { port: { admin_state_up: false } });
    await expect.poll(() => bound(a)).toBe("DOWN  unbound");
    await becomes(trunk, "DOWN");
    await call("PUT", `ports/${parent.id}`, { port: { admin_state_up: true } });
    await h.settled();
    h.confirm("hv1");
    await expect.poll(() => bound(a)).toBe("ACTIVE hv1 ovs");
    await h.unplug("hv1", parent.id);
    await becomes(trunk, "DOWN");
    await expect.poll(() => bound(a)).toBe("DOWN  unbound");
    expect((await call("DELETE", `trunks/${trunk.id}`)).status).toBe(204);
    expect(h.complaints).toEqual([]);
  });

  test("a port that is plugged is made neither parent nor sub-port; one whose network is not at the host leaves the rest as it is", async () => {
    await h.addChassis("hv3");
    const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };
    const [parent, a, plugged] = [await port(), await port(), await port()];
    const trunk = await make("trunk", { port_id: parent.id, sub_ports: [vlan(a, 100)] });
    await h.plug("hv3", plugged.id, 6);
    await h.plug("hv3", parent.id, 7);
    expect(await refused(() => call("POST", "trunks", { trunk: { port_id: plugged.id } }))).toBe("409 ParentPortInUse");
    expect(await refused(() => add(trunk, [vlan(plugged, 5)]))).toBe("409 PortInUse");
    const elsewhere = await port(await network({ "provider:network_type": "flat", "provider:physical_network": "physnet1", mtu: 1400 }, ADMIN), {}, ADMIN);
    await add(trunk, [vlan(elsewhere, 300)], ADMIN);
    await h.settled();
    h.confirm("hv3");
    await h.installed("hv3", parent.id);
    await expect.poll(async () => (await shown("port", a.id)).status).toBe("ACTIVE");
    await becomes(trunk, "DEGRADED");
    await remove(trunk, [{ port_id: elsewhere.id }]);
    await becomes(trunk, "ACTIVE");
  });
});

test("the host of a sub-port is its parent's: no binding of its own is activated or changed", async () => {
  const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };
  const on = await network();
  await h.addChassis("hv1", { key: 2 });
  const [parent, sub] = [await port(on), await port(on)];
  await make("trunk", { port_id: parent.id, sub_ports: [vlan(sub, 7)] });
  expect((await call("PUT", `ports/${sub.id}`, { port: { device_owner: "compute:nova" } }, ADMIN)).status).toBe(200);
  expect((await call("POST", `ports/${sub.id}/bindings`, { binding: { host: "hv1" } }, ADMIN)).status).toBe(201);
  expect(await refused(() => call("PUT", `ports/${sub.id}/bindings/hv1/activate`, {}, ADMIN))).toBe("409 PortBindingError");
  await h.plug("hv0", parent.id, 77);
  await h.settled();
  const { body } = await call("GET", `ports/${sub.id}/bindings?status=ACTIVE`, undefined, ADMIN);
  for (const { host } of body.bindings as unknown as { host: string }[]) expect(await refused(() => call("PUT", `ports/${sub.id}/bindings/${host}`, { binding: { host: "hv1" } }, ADMIN))).toMatch(/^409 PortBinding/);
  expect(await refused(() => call("PUT", `ports/${sub.id}/bindings/hv1/activate`, {}, ADMIN))).toBe("409 PortBindingError");
  await h.unplug("hv0", parent.id);
});
