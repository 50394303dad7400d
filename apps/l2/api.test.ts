import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { chassisTable, vifTable, type Tx, type Vif } from "#app";
import { Layer } from "../../src/model/rows.ts";
import { Api, type Shown, type Who } from "../../test/support/api/api.ts";
import { vif } from "./api.ts";
import { networkTable, portBindingTable, portStatusTable, portTable, requestedChassis } from "./model.ts";
import { derive } from "./rules.ts";

let api: Api;
beforeEach(async () => void (api = await Api.open()));

const p1: Who = { project: "p1" };
const admin: Who = {};
const net = (values: Record<string, unknown> = {}, who = p1): Promise<Shown> => api.make("network", values, who);

describe("networks", () => {
  test("what a new network is", async () => {
    const n = await net({ name: "blue" });
    expect(n).toMatchObject({ name: "blue", admin_state_up: true, status: "ACTIVE", shared: false, mtu: 1442, port_security_enabled: true, subnets: [], project_id: "p1", tenant_id: "p1" });
    expect(n).not.toHaveProperty("key");
    const keys = [n.id, (await net()).id].map((id) => api.model.view.get(networkTable, id)!.key);
    expect(new Set(keys).size).toBe(2);
  });

  test("mtu: as asked up to the encapsulation's limit; 0 leaves it open again", async () => {
    const n = await net({ mtu: 1400 });
    expect(n.mtu).toBe(1400);
    expect((await api.change("network", n.id, { mtu: 0 })).mtu).toBe(1442);
    await api.chassis("hv1", 1, { encap_types: ["geneve"], encap_ip: "2001:db8::1" });
    expect((await api.show("network", n.id)).mtu).toBe(1422);
    await api.refused(400, "InvalidInput", "PUT", `networks/${n.id}`, { network: { mtu: 1423 } });
    await api.refused(400, "InvalidInput", "POST", "networks", { network: { mtu: 9000 } });
    await api.refused(400, "HTTPBadRequest", "POST", "networks", { network: { mtu: -1 } });
    expect(await api.list("networks?mtu=1422")).toHaveLength(1);
  });

  test("shared is the administrator's to set, and stays while others use it", async () => {
    await api.refused(403, "PolicyNotAuthorized", "POST", "networks", { network: { shared: true } });
    const n = await net({ shared: true, project_id: "p1" }, admin);
    expect(await api.list("networks", { project: "p2" })).toHaveLength(1);
    const port = await api.make("port", { network_id: n.id }, { project: "p2" });
    await api.refused(409, "InvalidSharedSetting", "PUT", `networks/${n.id}`, { network: { shared: false } }, admin);
    await api.delete("port", port.id, { project: "p2" });
    expect((await api.change("network", n.id, { shared: false }, admin)).shared).toBe(false);
    expect(await api.list("networks", { project: "p2" })).toHaveLength(0);
  });

  test("goes when only its own services' ports are left", async () => {
    const n = await net();
    await api.make("subnet", { network_id: n.id, ip_version: 4, cidr: "10.0.0.0/24" });
    const port = await api.make("port", { network_id: n.id });
    await api.make("port", { network_id: n.id, device_owner: "network:dhcp" });
    await api.refused(409, "NetworkInUse", "DELETE", `networks/${n.id}`);
    await api.delete("port", port.id);
    await api.delete("network", n.id);
    for (const list of ["networks", "ports", "subnets"]) expect(await api.list(list)).toEqual([]);
    await api.refused(404, "NetworkNotFound", "DELETE", `networks/${n.id}`);
  });
});

describe("ports", () => {
  test("what a new port is", async () => {
    const n = await net();
    const port = await api.make("port", { network_id: n.id, name: "p" });
    expect(port).toMatchObject({
      name: "p", network_id: n.id, status: "DOWN", admin_state_up: true, device_id: "", device_owner: "", port_security_enabled: true, allowed_address_pairs: [], fixed_ips: [],
      ip_allocation: "none", "binding:vnic_type": "normal", project_id: "p1",
    });
    expect(port.mac_address).toMatch(/^fa:16:3e(:[0-9a-f]{2}){3}$/);
    expect(Object.keys(port).filter((k) => k.startsWith("binding:"))).toEqual(["binding:vnic_type"]);
    expect(await api.show("port", port.id)).toMatchObject({ "binding:host_id": "", "binding:vif_type": "unbound", "binding:vif_details": {}, "binding:profile": {} });
  });

  test("MACs: unique in a network, in any spelling; null makes a new one", async () => {
    const [a, b] = [await net(), await net()];
    const port = await api.make("port", { network_id: a.id, mac_address: "FA-16-3E-00-00-01" });
    expect(port.mac_address).toBe("fa:16:3e:00:00:01");
    await api.refused(409, "MacAddressInUse", "POST", "ports", { port: { network_id: a.id, mac_address: "fa:16:3e:00:00:01" } });
    await api.make("port", { network_id: b.id, mac_address: "fa:16:3e:00:00:01" });
    await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id: a.id, mac_address: "01:00:5e:00:00:01" } });
    const other = await api.make("port", { network_id: a.id });
    await api.refused(409, "MacAddressInUse", "PUT", `ports/${other.id}`, { port: { mac_address: "fa:16:3e:00:00:01" } }, admin);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `ports/${other.id}`, { port: { mac_address: "fa:16:3e:00:00:02" } });
    const changed = await api.change("port", port.id, { mac_address: null }, admin);
    expect(changed.mac_address).not.toBe("fa:16:3e:00:00:01");
    expect(await api.list("ports?mac_address=FA:16:3E:00:00:01")).toHaveLength(1);
  });

  test("no MAC is left: 503", async () => {
    const n = await net();
    const create = await api.make("port", { network_id: n.id });
    const hex = create.mac_address.slice(9).replaceAll(":", "");
    await expect(
      api.tx((tx) => {
        const stuck: Tx = Object.create(tx, { uuid: { value: () => `${hex}00-0000-4000-8000-000000000000` } }) as Tx;
        return api.server.engine.rows.kind("port").resource.update!(stuck, tx.get(portTable, create.id)!, { mac_address: null }, {} as never);
      }),
    ).rejects.toMatchObject({ status: 503, type: "NetworkMacAddressGenerationFailure" });
  });

  test("an unknown network, or one of others, is not found; a foreign port neither", async () => {
    const n = await net();
    const p2 = { project: "p2" };
    await api.refused(404, "NetworkNotFound", "POST", "ports", { port: { network_id: n.id } }, p2);
    await api.refused(404, "NetworkNotFound", "POST", "ports", { port: { network_id: "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d" } }, p2);
    await api.refused(404, "NetworkNotFound", "POST", "ports", { port: { network_id: "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d" } }, admin);
    const port = await api.make("port", { network_id: n.id });
    await api.refused(404, "PortNotFound", "PUT", `ports/${port.id}`, { port: { name: "x" } }, p2);
    await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: {} });
  });

  test("on a shared network a stranger chooses little", async () => {
    const n = await net({ shared: true, project_id: "p1" }, admin);
    const p2 = { project: "p2" };
    for (const more of [{ mac_address: "fa:16:3e:00:00:09" }, { port_security_enabled: false }, { allowed_address_pairs: [] }, { device_owner: "network:dhcp" }, { fixed_ips: [{ ip_address: "10.0.0.4" }] }]) {
      await api.refused(403, "PolicyNotAuthorized", "POST", "ports", { port: { network_id: n.id, ...more } }, p2);
    }
    const port = await api.make("port", { network_id: n.id, device_owner: "compute:nova" }, p2);
    // The owner of the network sees and deletes it, but does not change it.
    expect(await api.list("ports", p1)).toHaveLength(1);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `ports/${port.id}`, { port: { name: "mine" } });
    await api.delete("port", port.id);
  });

  test("port security: the network's default, never of the network's own ports", async () => {
    const n = await net({ port_security_enabled: false });
    expect((await api.make("port", { network_id: n.id })).port_security_enabled).toBe(false);
    expect((await api.make("port", { network_id: n.id, port_security_enabled: true })).port_security_enabled).toBe(true);
    const m = await net();
    expect((await api.make("port", { network_id: m.id, device_owner: "network:dhcp" })).port_security_enabled).toBe(false);
  });

  test("allowed address pairs", async () => {
    const n = await net();
    const port = await api.make("port", { network_id: n.id, mac_address: "fa:16:3e:00:00:01", allowed_address_pairs: [{ ip_address: "10.0.0.9" }, { ip_address: "10.1.0.0/16", mac_address: "fa:16:3e:00:00:02" }] });
    expect(port.allowed_address_pairs).toEqual([{ ip_address: "10.0.0.9", mac_address: "fa:16:3e:00:00:01" }, { ip_address: "10.1.0.0/16", mac_address: "fa:16:3e:00:00:02" }]);
    // The default MAC follows the port's.
    const moved = await api.change("port", port.id, { mac_address: "fa:16:3e:00:00:03" }, admin);
    expect(moved.allowed_address_pairs[0]!.mac_address).toBe("fa:16:3e:00:00:03");
    const put = (pairs: unknown): unknown => ({ port: { allowed_address_pairs: pairs } });
    const at = `ports/${port.id}`;
    await api.refused(400, "AllowedAddressPairsMissingIP", "PUT", at, put([{ mac_address: "fa:16:3e:00:00:02" }]));
    for (const mac_address of ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"]) {
      await api.refused(400, "HTTPBadRequest", "PUT", at, put([{ ip_address: "10.0.0.9", mac_address }]));
      await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id: n.id, allowed_address_pairs: [{ ip_address: "10.0.0.9", mac_address }] } });
      await api.refused(400, "HTTPBadRequest", "PUT", at, { port: { mac_address } }, admin);
    }
    await api.refused(400, "DuplicateAddressPairInRequest", "PUT", at, put([{ ip_address: "10.0.0.9" }, { ip_address: "10.0.0.9", mac_address: "fa:16:3e:00:00:03" }]));
    await api.refused(400, "AllowedAddressPairExhausted", "PUT", at, put([...Array(11).keys()].map((i) => ({ ip_address: `10.0.1.${i}` }))));
    await api.refused(400, "HTTPBadRequest", "PUT", at, put([{ ip_address: "10.0.0.999" }]));
    await api.refused(409, "AddressPairAndPortSecurityRequired", "PUT", at, { port: { port_security_enabled: false, security_groups: [] } });
    await api.refused(409, "AddressPairAndPortSecurityRequired", "POST", "ports", { port: { network_id: n.id, port_security_enabled: false, allowed_address_pairs: [{ ip_address: "10.0.0.9" }] } });
    expect((await api.change("port", port.id, { port_security_enabled: false, security_groups: [], allowed_address_pairs: [] })).allowed_address_pairs).toEqual([]);
  });

  test("a PUT that changes nothing else keeps the rest; keys are not reused at once", async () => {
    const n = await net();
    const port = await api.make("port", { network_id: n.id, device_id: "vm", device_owner: "compute:nova" });
    const row = api.model.view.get(portTable, port.id)!;
    const renamed = await api.change("port", port.id, { name: "x" });
    expect(renamed).toMatchObject({ device_id: "vm", mac_address: port.mac_address });
    expect(renamed.revision_number).toBeGreaterThan(port.revision_number);
    expect(api.model.view.get(portTable, port.id)!.key).toBe(row.key);
    expect(await api.list("ports?device_id=vm")).toHaveLength(1);
    await api.delete("port", port.id);
    expect(api.model.view.get(portTable, (await api.make("port", { network_id: n.id })).id)!.key).toBe(row.key + 1);
    expect([...api.model.view.all(portBindingTable), ...api.model.view.all(portStatusTable)]).toHaveLength(2);
  });
});

describe("binding and status", () => {
  const plug = (chassis: string, portId: string, name = "tap0"): Vif => ({ id: `${chassis}/${name}`, chassis, iface_id: portId, name, ofport: 1, slot: 1 });
  const plugged = (v: Vif): Promise<void> =>
    api.tx((tx) => {
      tx.put(vifTable, v);
      vif.plugged(tx, v);
    });
  const installed = (v: Vif): Promise<void> => api.tx((tx) => vif.installed(tx, v));
  const unplugged = (v: Vif): Promise<void> =>
    api.tx((tx) => {
      tx.delete(vifTable, v.id);
      vif.unplugged(tx, v);
    });
  const status = async (id: string): Promise<[string, string]> => {
    const port = await api.show("port", id);
    return [port.status, port["binding:host_id"] as string];
  };

  test("a hostname is self-declared: it names a host only if no other has it, as its hostname or as its system-id", async () => {
    const asked = async (host: string): Promise<unknown> => {
      const n = await net();
      const port = await api.make("port", { network_id: n.id, "binding:host_id": host }, admin);
      return port["binding:vif_type"];
    };
    await api.chassis("hv1", 1, { hostname: "node1" });
    expect([await asked("hv1"), await asked("node1")]).toEqual(["ovs", "ovs"]);
    await api.chassis("hv2", 2, { hostname: "node1" });
    expect([await asked("hv1"), await asked("node1"), await asked("hv2")]).toEqual(["ovs", "binding_failed", "ovs"]);
    await api.chassis("hv3", 3, { hostname: "hv1" });
    expect(requestedChassis(api.model.view, "hv1")?.id).toBe("hv1");
    // A host that calls itself like the requested one gets nothing of its ports.
    const n = await net();
    const port = await api.make("port", { network_id: n.id, "binding:host_id": "hv1" }, admin);
    await api.model.transact({ requestId: "t", call: "plug" }, (tx) => {
      const row = { id: "hv3/tap", chassis: "hv3", iface_id: port.id, name: "tap", ofport: 1, slot: 1 };
      tx.put(vifTable, row);
      vif.plugged(tx, row);
    });
    expect(await api.show("port", port.id)).toMatchObject({ status: "DOWN", "binding:host_id": "hv1" });
    const attach = derive[0]!;
    expect(attach.name).toBe("attachment");
    expect((attach as unknown as { derive: (port: unknown, view: unknown) => unknown }).derive(api.model.view.get(portTable, port.id), api.model.view)).toBeUndefined();
  });

  test("binding by request: at once, by id or host name; unknown hosts fail without an error", async () => {
    await api.chassis("hv1", 1);
    const n = await net();
    const port = await api.make("port", { network_id: n.id });
    const bound = await api.change("port", port.id, { device_id: "vm", device_owner: "compute:nova", "binding:host_id": "hv1", "binding:profile": { a: 1 } }, admin);
    expect(bound).toMatchObject({
      status: "DOWN", "binding:host_id": "hv1", "binding:vif_type": "ovs", "binding:profile": { a: 1 },
      "binding:vif_details": { port_filter: true, connectivity: "l2", bridge_name: "br-int", datapath_type: "system", ovs_hybrid_plug: false },
    });
    expect(await api.change("port", port.id, { "binding:host_id": "hv1.example" }, admin)).toMatchObject({ "binding:vif_type": "ovs", "binding:host_id": "hv1.example" });
    expect(await api.change("port", port.id, { "binding:host_id": "nowhere" }, admin)).toMatchObject({ "binding:vif_type": "binding_failed", "binding:vif_details": {} });
    expect(await api.change("port", port.id, { "binding:host_id": null, "binding:profile": null }, admin)).toMatchObject({ "binding:vif_type": "unbound", "binding:host_id": "", "binding:profile": {} });
    await api.refused(403, "PolicyNotAuthorized", "PUT", `ports/${port.id}`, { port: { "binding:host_id": "hv1" } });
    await api.refused(400, "InvalidInput", "PUT", `ports/${port.id}`, { port: { "binding:profile": { a: "x".repeat(5000) } } }, admin);
    await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id: n.id, "binding:vnic_type": "odd" } });
  });

  test("the MAC of a bound port stays, unless the same request unbinds it", async () => {
    await api.chassis("hv1", 1);
    const port = await api.make("port", { network_id: (await net()).id });
    await api.change("port", port.id, { "binding:host_id": "hv1", mac_address: "fa:16:3e:00:00:01" }, admin);
    await api.refused(409, "PortBound", "PUT", `ports/${port.id}`, { port: { mac_address: "fa:16:3e:00:00:02" } }, admin);
    await api.change("port", port.id, { "binding:host_id": null, mac_address: "fa:16:3e:00:00:02" }, admin);
  });

  test("plugged, installed, unplugged; a second time changes nothing", async () => {
    await api.chassis("hv1", 1);
    const port = await api.make("port", { network_id: (await net()).id });
    const v = plug("hv1", port.id);
    await plugged(v);
    expect(await status(port.id)).toEqual(["BUILD", "hv1"]);
    await installed(v);
    expect(await status(port.id)).toEqual(["ACTIVE", "hv1"]);
    const before = await api.show("port", port.id);
    expect(before.revision_number).toBe(port.revision_number + 2);
    const generation = api.model.generation;
    await installed(v);
    await api.tx((tx) => vif.plugged(tx, v));
    expect(api.model.generation).toBe(generation);
    await unplugged(v);
    expect(await status(port.id)).toEqual(["DOWN", ""]);
    await api.tx((tx) => vif.unplugged(tx, v));
    expect((await api.show("port", port.id)).revision_number).toBe(before.revision_number + 1);
    // An interface of no port is nobody's business.
    const stray = plug("hv1", "no-port", "tap9");
    await plugged(stray);
    await installed(stray);
    await unplugged(stray);
  });

  test("an interface on another host than the one asked for does not count", async () => {
    await api.chassis("hv1", 1);
    await api.chassis("hv2", 2);
    const port = await api.make("port", { network_id: (await net()).id });
    await api.change("port", port.id, { "binding:host_id": "hv2" }, admin);
    const [here, there] = [plug("hv1", port.id), plug("hv2", port.id)];
    await plugged(here);
    expect(await status(port.id)).toEqual(["DOWN", "hv2"]);
    await plugged(there);
    await installed(here);
    expect(await status(port.id)).toEqual(["BUILD", "hv2"]);
    await installed(there);
    await unplugged(here);
    expect(await status(port.id)).toEqual(["ACTIVE", "hv2"]);
    // Migration: the binding moves, then the other side's flows come.
    await plugged(here);
    await api.change("port", port.id, { "binding:host_id": "hv1" }, admin);
    expect(await status(port.id)).toEqual(["BUILD", "hv1"]);
    await installed(here);
    await unplugged(there);
    expect(await status(port.id)).toEqual(["ACTIVE", "hv1"]);
  });

  test("switched off is down: port or network", async () => {
    await api.chassis("hv1", 1);
    const n = await net();
    const port = await api.make("port", { network_id: n.id });
    const v = plug("hv1", port.id);
    await plugged(v);
    await installed(v);
    expect((await api.change("port", port.id, { admin_state_up: false })).status).toBe("DOWN");
    await installed(v);
    expect((await api.show("port", port.id)).status).toBe("DOWN");
    expect((await api.change("port", port.id, { admin_state_up: true })).status).toBe("BUILD");
    await installed(v);
    await api.change("network", n.id, { admin_state_up: false });
    expect((await api.show("port", port.id)).status).toBe("DOWN");
    await api.change("network", n.id, { admin_state_up: true });
    expect((await api.show("port", port.id)).status).toBe("BUILD");
  });
});

describe("requests", () => {
  afterEach(() => void vi.restoreAllMocks());

  test("cost the same with any number of chassis: none looks at all of them", async () => {
    for (let i = 1; i <= 20; i++) await api.chassis(`hv${i}`, i);
    const looks = vi.spyOn(Layer.prototype, "all");
    const n = await api.make("network", {});
    await api.change("network", n.id, { mtu: 1300 });
    const port = await api.make("port", { network_id: n.id });
    await api.change("port", port.id, { "binding:host_id": "hv7.example" }, { project: "ops", roles: "admin" });
    await api.make("network", {});
    for (const path of ["networks", "ports"]) await api.list(path);
    expect(looks.mock.calls.filter(([table]) => table.name === chassisTable.name)).toEqual([]);
  });
});

test("ports have tags from the start where they are given, each its own in one request", async () => {
  const net = (await api.make("network", {})).id;
  const { body } = await api.call("POST", "ports", { ports: [{ network_id: net, tags: ["a", "b"] }, { network_id: net }] }, { project: "p1", roles: "admin" });
  expect((body.ports as { tags: string[] }[]).map((p) => p.tags)).toEqual([["a", "b"], []]);
  expect((await api.list("ports?tags=a")).length).toBe(1);
  await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id: net, tags: ["a", "a"] } });
});
