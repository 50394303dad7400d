// Quantum v1.0 and v1.1 on the wire, in JSON and XML, over the same objects as v2.0.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";
import { fromXml, V1Client, type Format, type Send, type V1Answer } from "../../test/support/api/quantum-v1.ts";

let h: Harness;
beforeAll(async () => {
  h = await Harness.make([], undefined, { settings: new Map([["quotas", { "default-quota": new Map([["all", -1]]) }]]) });
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
});
afterAll(() => h.close());

interface Raw {
  readonly status: number;
  readonly text: string;
  readonly type: string;
  readonly reason: string;
}
const raw = async (method: string, url: string, body?: string, headers: Record<string, string> = {}): Promise<Raw> => {
  const answer = await h.api.inject({ method: method as "GET", url, headers, ...(body === undefined ? {} : { payload: body }) });
  return { status: answer.statusCode, text: answer.payload, type: String(answer.headers["content-type"]), reason: answer.statusMessage };
};
const send: Send = raw;
let tenants = 0;
const newTenant = (): string => `tenant-${++tenants}`;
const member = (project: string): Record<string, string> => ({ "x-project-id": project, "x-roles": "member" });
const NOBODY = "00000000-0000-4000-8000-000000000000";

const all: readonly ["v1.0" | "v1.1", Format][] = [["v1.0", "json"], ["v1.0", "xml"], ["v1.1", "json"], ["v1.1", "xml"]];

describe.each(all)("%s in %s", (version, format) => {
  const namespace = `http://openstack.org/quantum/api/${version}`;
  const created = version === "v1.0" ? 200 : 202;
  /** In 1.1 alone. */
  const op = (status: string): Record<string, string> => (version === "v1.1" ? { "op-status": status } : {});
  const clientOf = (tenant: string, headers: Record<string, string> = {}): V1Client => new V1Client(send, version, tenant, format, headers);
  const fresh = (): V1Client => clientOf(newTenant());

  /** A fault of the contract. */
  function expectFault(answer: V1Answer, code: number, key: string, standard: number, detail: string | RegExp, message: string | RegExp = /./): void {
    const matching = (text: string | RegExp): unknown => (typeof text === "string" ? text : expect.stringMatching(text));
    expect(answer.type).toBe(`application/${format}`);
    expect(answer.status).toBe(version === "v1.0" ? code : standard);
    const type = key[0]!.toUpperCase() + key.slice(1);
    expect(answer.body).toEqual(version === "v1.0"
      ? { [key]: { code: format === "json" ? code : String(code), message: matching(message), detail: matching(detail) } }
      : { QuantumError: { type: key === "malformedRequest" ? "QuantumServiceFault" : type, message: matching(message), detail: matching(detail) } });
    if (format === "xml") expect(answer.text).toContain(` xmlns="${namespace}"`);
  }
  const noNetwork = (answer: V1Answer, id: string): void => expectFault(answer, 420, "networkNotFound", 404, `Network ${id} could not be found`, "Unable to find a network with the specified identifier.");
  const noPort = (answer: V1Answer, id: string, network: string): void => expectFault(answer, 430, "portNotFound", 404, `Port ${id} could not be found on network ${network}`, "Unable to find a port with the specified identifier.");

  test("networks: created, listed, shown, renamed, deleted; v2.0 has the same", async () => {
    const tenant = newTenant();
    const c = clientOf(tenant);
    expect((await c.call("GET", "/networks")).body).toEqual({ networks: [] });
    const made = await c.call("POST", "/networks", { network: { name: "n1", nova_id: "ignored" } });
    expect([made.status, made.type, Object.keys(made.body.network)]).toEqual([created, `application/${format}`, ["id"]]);
    const id = made.body.network.id as string;
    expect((await c.call("GET", "/networks")).body).toEqual({ networks: [{ id }] });
    expect((await c.call("GET", "/networks/detail")).body).toEqual({ networks: [{ id, name: "n1", ...op("UP") }] });
    expect((await c.call("GET", `/networks/${id}`)).body).toEqual({ network: { id, name: "n1", ...op("UP") } });
    expect((await c.call("GET", `/networks/${id}/detail`)).body).toEqual({ network: { id, name: "n1", ...op("UP"), ports: [] } });
    const put = await c.call("PUT", `/networks/${id}`, { network: { name: "n2" } });
    expect([put.status, put.text, put.type]).toEqual([204, "", `application/${format}`]);
    expect((await h.call("GET", `/v2.0/networks/${id}`)).body.network).toMatchObject({ name: "n2", project_id: tenant, shared: false });
    const gone = await c.call("DELETE", `/networks/${id}`);
    expect([gone.status, gone.text, gone.type]).toEqual([204, "", `application/${format}`]);
    noNetwork(await c.call("GET", `/networks/${id}`), id);
    expect((await h.call("GET", `/v2.0/networks/${id}`)).status).toBe(404);
  });

  test("ports: created, listed, shown, taken up and down, deleted", async () => {
    const c = fresh();
    const net = await c.network("n");
    expect((await c.call("GET", `/networks/${net}/ports`)).body).toEqual({ ports: [] });
    const made = await c.call("POST", `/networks/${net}/ports`);
    expect([made.status, Object.keys(made.body.port)]).toEqual([created, ["id"]]);
    const [a, b] = [made.body.port.id as string, await c.port(net, "ACTIVE")];
    expect((await c.call("GET", `/networks/${net}/ports`)).body.ports).toEqual(expect.arrayContaining([{ id: a }, { id: b }]));
    expect((await c.call("GET", `/networks/${net}/ports/detail`)).body.ports).toEqual(expect.arrayContaining([{ id: a, state: "DOWN", ...op("DOWN") }, { id: b, state: "ACTIVE", ...op("DOWN") }]));
    expect((await c.call("GET", `/networks/${net}/ports/${b}`)).body).toEqual({ port: { id: b, state: "ACTIVE", ...op("DOWN") } });
    expect((await c.call("PUT", `/networks/${net}/ports/${a}`, { port: { state: "ACTIVE" } })).status).toBe(204);
    // What is not said is down.
    expect((await c.call("PUT", `/networks/${net}/ports/${b}`, { port: { vm_id: "x" } })).status).toBe(204);
    const states = async (): Promise<string[]> => Promise.all([a, b].map(async (id) => (await c.ok("GET", `/networks/${net}/ports/${id}`)).port.state as string));
    expect(await states()).toEqual(["ACTIVE", "DOWN"]);
    const v2 = (await h.call("GET", `/v2.0/ports/${a}`)).body.port;
    expect(v2).toMatchObject({ network_id: net, admin_state_up: true, fixed_ips: [], port_security_enabled: false, security_groups: [], "quantum:attachment": "" });
    expect((await c.call("DELETE", `/networks/${net}/ports/${a}`)).status).toBe(204);
    noPort(await c.call("GET", `/networks/${net}/ports/${a}`), a, net);
    // A network takes its ports along.
    expect((await c.call("DELETE", `/networks/${net}`)).status).toBe(204);
    expect((await h.call("GET", `/v2.0/ports/${b}`)).status).toBe(404);
  });

  test("attachments: plugged, shown, in use, unplugged", async () => {
    const c = fresh();
    const net = await c.network("n");
    const [a, b] = [await c.port(net, "ACTIVE"), await c.port(net)];
    const vif = `vif-${a}`;
    const attachment = async (): Promise<unknown> => (await c.ok("GET", `/networks/${net}/ports/${a}/attachment`)).attachment;
    expect(await attachment()).toEqual({});
    const put = await c.attach(net, a, vif);
    expect([put.status, put.text]).toEqual([204, ""]);
    expect(await attachment()).toEqual({ id: vif });
    expect((await c.call("GET", `/networks/${net}/ports/${a}/detail`)).body).toEqual({ port: { id: a, state: "ACTIVE", ...op("DOWN"), attachment: { id: vif } } });
    expect((await c.call("GET", `/networks/${net}/ports/${b}/detail`)).body).toEqual({ port: { id: b, state: "DOWN", ...op("DOWN") } });
    expect((await c.ok("GET", `/networks/${net}/detail`)).network.ports).toEqual(expect.arrayContaining([{ id: a, state: "ACTIVE", ...op("DOWN"), attachment: { id: vif } }, { id: b, state: "DOWN", ...op("DOWN") }]));
    expect((await h.call("GET", `/v2.0/ports/${a}`)).body.port["quantum:attachment"]).toBe(vif);
    // In use: by either name for it, here and in another network.
    for (const id of [vif, "another"]) expectFault(await c.attach(net, a, id), 432, "portInUse", 409, new RegExp(`${a}.*${net}.*${vif}`), "A resource is currently attached to the logical port");
    expectFault(await c.attach(net, b, vif), 440, "alreadyAttached", 409, new RegExp(`${vif}.*${b}.*${a}`), "The resource is already attached to another port");
    const other = fresh();
    const elsewhere = await other.network("m");
    expectFault(await other.attach(elsewhere, await other.port(elsewhere), vif), 440, "alreadyAttached", 409, /./);
    expectFault(await other.attach(elsewhere, await other.port(elsewhere), b), 440, "alreadyAttached", 409, /./);
    expectFault(await c.call("DELETE", `/networks/${net}/ports/${a}`), 432, "portInUse", 409, /./);
    expectFault(await c.call("DELETE", `/networks/${net}`), 421, "networkInUse", 409, new RegExp(`${net}.*${vif}.*${a}`), "Unable to remove the network: attachments still plugged.");
    expect((await c.ok("GET", `/networks/${net}/ports`)).ports).toHaveLength(2);
    expect((await c.call("PUT", `/networks/${net}/ports/${a}`, { port: { state: "DOWN" } })).status).toBe(204);
    for (let i = 0; i < 2; i++) expect((await c.detach(net, a)).status).toBe(204);
    expect(await attachment()).toEqual({});
    expect((await c.attach(net, b, vif)).status).toBe(204);
    expect((await c.detach(net, b)).status).toBe(204);
    expect((await c.call("DELETE", `/networks/${net}`)).status).toBe(204);
  });

  test("what is not there, and whose it is: the network comes first", async () => {
    const [mine, theirs] = [fresh(), fresh()];
    const net = await theirs.network("n");
    const port = await theirs.port(net);
    const own = await mine.network("m");
    const calls: readonly [string, string, Record<string, Record<string, string>>?][] = [
      ["GET", ""], ["GET", "/detail"], ["PUT", "", { network: { name: "x" } }], ["DELETE", ""], ["GET", "/ports"], ["GET", "/ports/detail"], ["POST", "/ports"], ["GET", `/ports/${port}`], ["GET", `/ports/${port}/detail`],
      ["PUT", `/ports/${port}`, { port: { state: "ACTIVE" } }], ["DELETE", `/ports/${port}`], ["GET", `/ports/${port}/attachment`], ["PUT", `/ports/${port}/attachment`, { attachment: { id: "x" } }], ["DELETE", `/ports/${port}/attachment`],
    ];
    for (const [method, path, body] of calls) {
      for (const id of [net, NOBODY, "no-uuid"]) noNetwork(await mine.call(method, `/networks/${id}${path}`, body), id);
      if (path.includes(port)) noPort(await mine.call(method, `/networks/${own}${path}`, body), port, own);
    }
    expect((await theirs.ok("GET", `/networks/${net}/ports/${port}`)).port.state).toBe("DOWN");
    expect((await mine.ok("GET", "/networks")).networks).toEqual([{ id: own }]);
  });

  test("the caller is of the tenant, or an administrator", async () => {
    const tenant = newTenant();
    const net = await clientOf(tenant, member(tenant)).network("n");
    expect((await clientOf(tenant).ok("GET", `/networks/${net}`)).network.name).toBe("n");
    const stranger = clientOf(tenant, member("another"));
    for (const [method, path] of [["GET", "/networks"], ["GET", `/networks/${net}`], ["DELETE", `/networks/${net}`]] as const) {
      const answer = await stranger.call(method, path);
      expect(answer.status).toBe(403);
      const detail = "The caller is not of tenant " + tenant;
      expect(version === "v1.0" ? answer.body.quantumServiceFault.detail : answer.body.QuantumError.detail).toBe(detail);
    }
    const reader = clientOf(tenant, { ...member(tenant), "x-roles": "reader" });
    expect((await reader.ok("GET", "/networks")).networks).toEqual([{ id: net }]);
    expect((await reader.call("POST", "/networks", { network: { name: "x" } })).status).toBe(403);
  });

  test("what a body lacks is said before anything else", async () => {
    const c = fresh();
    const net = await c.network("n");
    const port = await c.port(net);
    const malformed = (answer: V1Answer): void => expectFault(answer, 400, "malformedRequest", 400, /./);
    for (const at of [net, NOBODY]) {
      malformed(await c.call("PUT", `/networks/${at}`));
      malformed(await c.call("PUT", `/networks/${at}`, { network: {} }));
      malformed(await c.call("PUT", `/networks/${at}`, { port: { name: "x" } }));
      malformed(await c.call("POST", `/networks/${at}/ports`, { network: { state: "ACTIVE" } }));
      malformed(await c.call("PUT", `/networks/${at}/ports/${port}`));
      malformed(await c.call("PUT", `/networks/${at}/ports/${port}/attachment`, { attachment: {} }));
      malformed(await c.call("PUT", `/networks/${at}/ports/${port}/attachment`, { attachment: { id: "" } }));
    }
    malformed(await c.call("POST", "/networks"));
    malformed(await c.call("POST", "/networks", { network: { name: "x".repeat(300) } }));
    malformed(await c.attach(net, port, "x".repeat(300)));
    for (const state of ["active", "UP", ""]) {
      const message = "Unable to update port state with specified value.";
      expectFault(await c.call("POST", `/networks/${net}/ports`, { port: { state } }), 431, "requestedStateInvalid", 400, `Unsupported port state: ${state}`, message);
      expectFault(await c.call("PUT", `/networks/${net}/ports/${port}`, { port: { state } }), 431, "requestedStateInvalid", 400, `Unsupported port state: ${state}`, message);
      noNetwork(await c.call("POST", `/networks/${NOBODY}/ports`, { port: { state } }), NOBODY);
    }
    expect((await c.ok("GET", "/networks")).networks).toHaveLength(1);
    expect((await c.call("POST", `/networks/${net}/ports`, { port: {} })).status).toBe(created);
  });

  test("filters", async () => {
    const c = fresh();
    const [one, two, none] = [await c.network("one"), await c.network("two"), await c.network("none")];
    const [a, b] = [await c.port(one, "ACTIVE"), await c.port(one)];
    const d = await c.port(two);
    await c.attach(one, a, `f-${a}`);
    const networks = async (query: string): Promise<string[]> => ((await c.ok("GET", `/networks?${query}`)).networks as { id: string }[]).map((n) => n.id).sort();
    const ports = async (query: string): Promise<string[]> => ((await c.ok("GET", `/networks/${one}/ports?${query}`)).ports as { id: string }[]).map((n) => n.id).sort();
    for (const [query, wanted] of [
      ["name=one", [one]], ["name=One", []], ["name=one&name=two", [two]], ["name=one&port-state=DOWN", [one]], ["op-status=UP", [one, two, none]], ["op-status=DOWN", []], ["port-state=ACTIVE", [one]], ["port-state=DOWN", [one, two]],
      ["port-op-status=DOWN", [one, two]], ["port-op-status=UP", []], ["has-attachment=TRUE", [one]], ["has-attachment=no", [two, none]], [`attachment=f-${a}`, [one]], ["attachment=f", []], [`port=${d}`, [two]], ["colour=red", [one, two, none]], ["colour=red&name=two", [two]],
    ] as const) expect([query, await networks(query)]).toEqual([query, [...wanted].sort()]);
    for (const [query, wanted] of [
      ["state=ACTIVE", [a]], ["state=active", []], ["op-status=DOWN", [a, b]], ["has-attachment=true", [a]], ["has-attachment=false", [b]], [`attachment=f-${a}`, [a]], [`attachment=f-${a}&state=DOWN`, []], ["x=y", [a, b]],
    ] as const) expect([query, await ports(query)]).toEqual([query, [...wanted].sort()]);
    expect((await c.ok("GET", `/networks/detail?name=two`)).networks).toEqual([{ id: two, name: "two", ...op("UP") }]);
    expect((await c.ok("GET", `/networks/${one}/ports/detail?has-attachment=true`)).ports).toEqual([{ id: a, state: "ACTIVE", ...op("DOWN") }]);
  });

  test("operational status is what the switch confirms; v2.0's is the same", async () => {
    const c = fresh();
    const net = await c.network("n");
    const port = await c.port(net, "ACTIVE");
    const vif = `s-${port}`;
    const becomes = async (v1: string, v2: string): Promise<void> => {
      await expect.poll(async () => (await h.call("GET", `/v2.0/ports/${port}`)).body.port.status).toBe(v2);
      expect((await c.ok("GET", `/networks/${net}/ports/${port}`)).port).toEqual({ id: port, state: "ACTIVE", ...op(v1) });
    };
    await h.plug("hv1", vif, 20 + tenants);
    await c.attach(net, port, vif);
    await becomes("PROVISIONING", "BUILD");
    h.confirm("hv1");
    await becomes("UP", "ACTIVE");
    expect((await h.call("GET", `/v2.0/ports/${port}`)).body.port["binding:host_id"]).toBe("hv1");
    await h.unplug("hv1", vif);
    await becomes("DOWN", "DOWN");
    await h.plug("hv2", vif, 20 + tenants);
    await becomes("PROVISIONING", "BUILD");
    h.confirm("hv2");
    await becomes("UP", "ACTIVE");
    await c.detach(net, port);
    await becomes("DOWN", "DOWN");
    await h.settled();
    expect(h.complaints).toEqual([]);
  });

  test("what v2.0 made: shown without what v1 has not, and kept from being cut", async () => {
    const tenant = newTenant();
    const c = clientOf(tenant);
    const net = (await h.create("network", { name: "v2", project_id: tenant })).id;
    await h.create("network", { name: "shared", shared: true, project_id: "another" });
    await h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24", project_id: tenant });
    const [free, used] = [(await h.create("port", { network_id: net, project_id: tenant })).id, (await h.create("port", { network_id: net, project_id: tenant, device_id: "vm", device_owner: "compute:nova" })).id];
    const router = (await h.create("router", { project_id: tenant })).id;
    const inside = await h.create("port", { network_id: net, project_id: tenant, device_owner: "network:dhcp", device_id: "dhcp" });
    expect((await c.ok("GET", "/networks/detail")).networks).toEqual([{ id: net, name: "v2", ...op("UP") }]);
    const shown = (await c.ok("GET", `/networks/${net}/detail`)).network.ports as unknown[];
    expect(shown).toHaveLength(2);
    expect(shown).toEqual(expect.arrayContaining([{ id: free, state: "ACTIVE", ...op("DOWN") }, { id: used, state: "ACTIVE", ...op("DOWN"), attachment: { id: used } }]));
    noPort(await c.call("GET", `/networks/${net}/ports/${inside.id}`), inside.id, net);
    expectFault(await c.detach(net, used), 432, "portInUse", 409, /./);
    expectFault(await c.call("DELETE", `/networks/${net}/ports/${used}`), 432, "portInUse", 409, /./);
    expectFault(await c.call("DELETE", `/networks/${net}`), 421, "networkInUse", 409, /./);
    // A port without a device that is plugged by its own id is in use too.
    await h.plug("hv1", free, 400 + tenants);
    expect((await c.ok("GET", `/networks/${net}/ports/${free}/attachment`)).attachment).toEqual({ id: free });
    expectFault(await c.call("DELETE", `/networks/${net}/ports/${free}`), 432, "portInUse", 409, /./);
    await h.unplug("hv1", free);
    expect((await c.call("DELETE", `/networks/${net}/ports/${free}`)).status).toBe(204);
    await h.call("PUT", `/v2.0/ports/${used}`, { port: { device_id: "", device_owner: "" } });
    const [{ id: subnet }] = (await h.call("GET", `/v2.0/subnets?network_id=${net}`)).body.subnets;
    expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
    expectFault(await c.call("DELETE", `/networks/${net}`), 421, "networkInUse", 409, /./);
    await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: subnet });
    expect((await c.call("DELETE", `/networks/${net}`)).status).toBe(204);
  });

  test("extensions: none; and what is not routed is no fault", async () => {
    const at = (path: string): string => `/${version}${path}.${format}`;
    const none = await raw("GET", at("/extensions"));
    expect([none.status, none.type, format === "json" ? JSON.parse(none.text) : fromXml(none.text)]).toEqual([200, `application/${format}`, { extensions: [] }]);
    const c = fresh();
    const net = await c.network("n");
    const port = await c.port(net);
    expect((await raw("GET", `/${version}`)).type).toBe("text/plain; charset=utf-8");
    for (const [method, path] of [
      ["GET", "/extensions/portstats"], ["POST", "/extensions"], ["GET", "/tenants"], ["GET", "/tenants/t"], ["GET", "/tenants//networks"], ["GET", "/networks"], ["PUT", "/tenants/t/networks"], ["POST", "/tenants/t/networks/detail"], ["PATCH", `/tenants/t/networks/${net}`],
      ["GET", "/tenants/t/subnets"], ["GET", `/tenants/t/networks/${net}/x`], ["GET", `/tenants/t/networks/${net}/ports/${port}/x`], ["POST", `/tenants/t/networks/${net}/ports/${port}/attachment`], ["GET", `/tenants/t/networks/${net}/ports/${port}/attachment/x`],
    ] as const) {
      const answer = await raw(method, at(path));
      expect([method, path, answer.status, answer.type]).toEqual([method, path, 404, "text/plain; charset=utf-8"]);
    }
  });
});

describe("formats", () => {
  const NET = "/v1.1/tenants/formats/networks";
  const XML = "application/xml";
  const JSONT = "application/json";
  test.each<[string, Record<string, string>, string]>([
    ["", {}, JSONT],
    [".xml", {}, XML],
    [".xml", { "content-type": JSONT, accept: JSONT }, XML],
    [".json", { "content-type": XML, accept: XML }, JSONT],
    ["", { "content-type": XML, accept: JSONT }, XML],
    ["", { "content-type": `${XML}; charset=utf-8` }, XML],
    ["", { "content-type": "text/plain", accept: XML }, XML],
    ["", { "content-type": "Application/XML" }, XML],
    ["", { accept: XML }, XML],
    ["", { accept: `${XML};q=0.3, ${JSONT};q=0.2` }, XML],
    ["", { accept: `${XML}, ${JSONT}` }, JSONT],
    ["", { accept: `text/html, ${XML};q=0.9, */*;q=0.8` }, XML],
    ["", { accept: "*/*" }, JSONT],
    ["", { accept: "text/html" }, JSONT],
    ["", { accept: `${JSONT};q=x` }, JSONT],
  ])("%s with %o", async (suffix, headers, type) => {
    expect(await raw("GET", NET + suffix, undefined, headers)).toMatchObject({ status: 200, type });
    expect(await raw("GET", `${NET}/${NOBODY}${suffix}`, undefined, headers)).toMatchObject({ status: 404, type });
  });

  test("XML with fields as attributes, and as the examples of the contract have it", async () => {
    const made = await raw("POST", `${NET}.xml`, '<network xmlns="http://openstack.org/quantum/api/v1.1" name="a &lt; b"/>', { "content-type": XML });
    const id = /id="([^"]+)"/.exec(made.text)![1]!;
    expect(made.text).toBe(`<network xmlns="http://openstack.org/quantum/api/v1.1" id="${id}"/>`);
    const port = /id="([^"]+)"/.exec((await raw("POST", `${NET}/${id}/ports.xml`, '<port state="ACTIVE"/>')).text)![1]!;
    await raw("PUT", `${NET}/${id}/ports/${port}/attachment.xml`, '<attachment id="v-1"/>');
    expect((await raw("GET", `${NET}/${id}/detail.xml`)).text).toBe(
      `<network xmlns="http://openstack.org/quantum/api/v1.1" id="${id}" name="a &#60; b" op-status="UP"><ports><port id="${port}" state="ACTIVE" op-status="DOWN"><attachment id="v-1"/></port></ports></network>`);
    expect((await raw("GET", `/v1.0/tenants/formats/networks/${id}/ports/${port}/attachment.xml`)).text).toBe('<attachment xmlns="http://openstack.org/quantum/api/v1.0" id="v-1"/>');
    expect((await raw("GET", "/v1.1/tenants/nobody/networks.xml")).text).toBe('<networks xmlns="http://openstack.org/quantum/api/v1.1"/>');
    expect(await raw("GET", `/v1.0/tenants/formats/networks/${NOBODY}.xml`)).toMatchObject({
      status: 420, reason: "networkNotFound",
      text: `<networkNotFound xmlns="http://openstack.org/quantum/api/v1.0" code="420"><message>Unable to find a network with the specified identifier.</message><detail>Network ${NOBODY} could not be found</detail></networkNotFound>`,
    });
  });

  test("names that XML cannot carry, numbers as names, long lists", async () => {
    const json = (body: unknown): Promise<Raw> => raw("POST", `${NET}.json`, JSON.stringify(body), { "content-type": JSONT });
    const { id } = (JSON.parse((await json({ network: { name: 'q"<\u0001>&' } })).text) as { network: { id: string } }).network;
    expect(fromXml((await raw("GET", `${NET}/${id}.xml`)).text).network.name).toBe('q"<\ufffd>&');
    for (const name of [7, true, ""]) expect((await json({ network: { name } })).status).toBe(202);
    for (const body of [{ network: { name: null } }, { network: { name: {} } }, { network: [] }, { network: "foo" }, [], null, 5, "x", {}]) expect((await json(body)).status).toBe(400);
    expect((await raw("PUT", `${NET}/${id}.json`, '{"network": {"name": "\\ud800"}}', { "content-type": JSONT })).status).toBe(400);
    expect((await raw("PUT", `${NET}/${id}.json`, "{", { "content-type": JSONT })).status).toBe(400);
    for (let i = 0; i < 120; i++) await json({ network: { name: `long ${i}` } });
    expect((JSON.parse((await raw("GET", `${NET}.json`)).text) as { networks: unknown[] }).networks.length).toBeGreaterThan(120);
    expect((JSON.parse((await raw("GET", `${NET}.json?has-attachment=false`)).text) as { networks: unknown[] }).networks.length).toBeGreaterThan(119);
  });

  test.each([
    ["a document type", '<!DOCTYPE network [<!ENTITY x "y">]><network><name>&x;</name></network>'], ["a plain string", "<network>foo</network>"], ["nothing closed", "<network>"], ["JSON", '{"network": {"name": "x"}}'],
  ])("hostile or broken XML is malformed: %s", async (_, body) => {
    const answer = await raw("POST", "/v1.0/tenants/hostile/networks.xml", body);
    expect([answer.status, Object.keys(fromXml(answer.text))]).toEqual([400, ["malformedRequest"]]);
    expect(fromXml((await raw("POST", "/v1.1/tenants/hostile/networks.xml", body)).text).QuantumError.type).toBe("QuantumServiceFault");
    expect((await raw("GET", "/v1.1/tenants/hostile/networks.xml")).text).toContain("<networks ");
    expect(fromXml((await raw("GET", "/v1.1/tenants/hostile/networks.xml")).text)).toEqual({ networks: [] });
  });

  test("paths that are hostile", async () => {
    expect((await raw("GET", "/v1.1/tenants/%ff/networks")).status).toBe(400);
    expect((await raw("GET", `/v1.1/tenants/t/networks/${"x".repeat(5000)}`)).text.length).toBeLessThan(1000);
    expect((await raw("GET", "/v1.1/tenants/t/networks/constructor")).status).toBe(404);
    expect((await raw("GET", "/v1.1/tenants/t%2Fnetworks")).status).toBe(404);
  });
});

test("the list of versions, in JSON and XML", async () => {
  const { versions } = JSON.parse((await raw("GET", "/")).text) as { versions: { id: string; status: string; links: { href: string }[] }[] };
  expect(versions.map((v) => [v.id, v.status, v.links[0]!.href])).toEqual([
    ["v2.0", "CURRENT", "http://localhost:80/v2.0/"], ["v1.1", "SUPPORTED", "http://localhost:80/v1.1/"], ["v1.0", "DEPRECATED", "http://localhost:80/v1.0/"],
  ]);
  const xml = await raw("GET", "/", undefined, { accept: "application/xml" });
  expect([xml.status, xml.type]).toEqual([200, "application/xml"]);
  expect(xml.text).toMatch(/^<versions><version id="v2.0" status="CURRENT"><links><link rel="self" href="[^"]*\/v2.0\/"\/><\/links><\/version>.*<\/versions>$/);
});
