// What machines are answered by the model, what flows there are for it, and what a file may say; test/integration/neighbours/metadata.test.ts asks with curl.
import { afterEach, describe, expect, test } from "vitest";
import { buildEthernet, buildIpv4, buildTcp, ethertypes, ipProtocols, parsePacket, tcpFlags } from "packet-codec";
import { settingValue } from "../../src/app/settings.ts";
import type { HttpClient } from "../../src/services/index.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { toldRoutes } from "../ipam/model.ts";
import { builtIn } from "./built-in.ts";
import { faultOf, givenTo, type GivenFile } from "./given.ts";
import { metadataSettings, metadataTroubleTable, SERVICE } from "./model.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

async function world(settings: Readonly<Record<string, unknown>> | undefined, http?: HttpClient): Promise<{ h: Harness; port: string; key: number; flows: () => string[]; ask: (request: string) => Promise<string> }> {
  const h = await Harness.make([], undefined, { ...(settings !== undefined && { settings: new Map([["metadata", settings]]) }), ...(http !== undefined && { http }) });
  open.push(h);
  await h.addChassis("hv1");
  const net = (await h.create("network", {})).id;
  await h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24", dns_nameservers: ["192.0.2.53"] });
  const port = (await h.create("port", { network_id: net, name: "Web-1", device_id: "dev", device_owner: "compute:x", fixed_ips: [{ ip_address: "10.0.0.9" }] })).id;
  await h.plug("hv1", port, 5);
  await h.settled();
  const { key } = h.view.get(portTable, port)!;
  let peerPort = 2000;
  /** One request over packets, as a machine sends them; what came back. */
  const ask = async (request: string): Promise<string> => {
    const src_port = peerPort++;
    const before = h.sent.length;
    const heard = () => h.sent.slice(before).map(({ packet }) => parsePacket(Buffer.from(packet.data)).tcp!);
    const say = (seq: number, ack: number, flags: number, payload = ""): void => {
      const ends = { src: "10.0.0.9", dst: SERVICE.ipv4 };
      const data = buildEthernet({ dst: SERVICE.mac, src: h.view.get(portTable, port)!.mac_address, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.tcp }, buildTcp({ src_port, dst_port: 80, seq, ack, flags, window: 60_000 }, Buffer.from(payload), ends)));
      h.packets.handle({ chassis: "hv1", inPort: 5, tableId: h.layout.table("metadata_request").id, data, match: { [h.layout.register("in_port_key").field]: key } });
    };
    const turn = async (until: () => boolean): Promise<void> => {
      for (let n = 0; n < 200 && !until(); n++) {
        await new Promise((done) => setImmediate(done));
        h.clock.advance(0);
      }
    };
    say(1, 0, tcpFlags.syn);
    await turn(() => heard().length > 0);
    const iss = heard()[0]!.seq;
    say(2, iss + 1, tcpFlags.ack, request);
    await turn(() => heard().some((t) => (t.flags & tcpFlags.fin) !== 0));
    return heard().map((t) => t.payload.toString()).join("");
  };
  return { h, port, key, ask, flows: () => [...h.engine.flowsOf("hv1")].map(textOf).filter((text) => text.includes(SERVICE.ipv4)) };
}
const closing = (path: string, method = "GET"): string => `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`;
const file = (content: object): Buffer => Buffer.from(JSON.stringify(content));

describe("flows and routes", () => {
  test("are there with a source, and without one there is nothing", async () => {
    const { h, flows } = await world({ "metadata-file": file({}) });
    expect(flows()).toHaveLength(2);
    expect([...h.engine.flowsOf("hv1")].filter((f) => f.table === h.layout.table("metadata_request").id)).toHaveLength(1);
    const subnet = [...h.view.all(h.apps.flatMap((a) => a.tables ?? []).find((t) => t.name === "subnet")!)][0] as never;
    const routesOf = (of: Harness) => of.apps.flatMap((a) => a.answers ?? []).filter((a) => a.question === toldRoutes as never).flatMap((a) => (a.run as (...args: unknown[]) => object[])(of.view, subnet));
    expect(routesOf(h)).toContainEqual({ destination: "169.254.169.254/32", nexthop: "0.0.0.0" });
    expect(h.complaints).toEqual([]);
    expect((await world(undefined)).flows()).toEqual([]);
  });
});

describe("of the model", () => {
  const given: GivenFile = {
    public_keys: ["ssh-ed25519 AAAA all"], user_data: "for all",
    projects: { p: { public_keys: ["ssh-rsa BBBB project"], devices: { dev: { meta: { role: "web" } } } } }, ports: {},
  };

  test("by HTTP: the machine's own, a list of names, what there is not", async () => {
    const { h, ask } = await world({ "metadata-file": file({ user_data: "#!/bin/sh\n" }) });
    expect(await ask(closing("/latest/user-data"))).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n#!\/bin\/sh\n$/);
    expect(await ask(closing("/openstack"))).toContain("2018-08-27\nlatest");
    expect(await ask(closing("/nothing"))).toMatch(/^HTTP\/1\.1 404 /);
    expect(await ask(closing("/__proto__/constructor"))).toMatch(/^HTTP\/1\.1 404 /);
    expect(await ask(closing("/latest/user-data", "DELETE"))).toMatch(/^HTTP\/1\.1 405 /);
    expect(h.complaints).toEqual([]);
  });

  test("both forms that cloud-init reads", async () => {
    const { h, port: id } = await world({ "metadata-file": file({}) });
    const port = { ...h.view.get(portTable, id)!, project_id: "p" };
    const get = (url: string): string => {
      const { status, body } = builtIn(h.view, port, given, { method: "GET", url });
      return status === 200 ? String(body) : String(status);
    };
    expect(get("/latest/meta-data/").split("\n")).toEqual(expect.arrayContaining(["instance-id", "local-hostname", "public-keys/", "network/"]));
    expect(["instance-id", "local-hostname", "local-ipv4", "public-keys/", "public-keys/1/openssh-key"].map((name) => get(`/2009-04-04/meta-data/${name}`))).toEqual(["dev", "web-1", "10.0.0.9", "0=key0\n1=key1", "ssh-rsa BBBB project"]);
    expect(JSON.parse(get("/openstack/2018-08-27/meta_data.json"))).toMatchObject({ uuid: "dev", hostname: "web-1", project_id: "p", meta: { role: "web" }, keys: [{ data: "ssh-ed25519 AAAA all" }, { data: "ssh-rsa BBBB project" }] });
    expect(JSON.parse(get("/openstack/latest/network_data.json"))).toMatchObject({
      links: [{ vif_id: id, type: "ovs", ethernet_mac_address: port.mac_address }], services: [{ type: "dns", address: "192.0.2.53" }],
      networks: [{ type: "ipv4_dhcp", ip_address: "10.0.0.9", netmask: "255.255.255.0", routes: [{ network: "0.0.0.0", netmask: "0.0.0.0", gateway: "10.0.0.1" }] }],
    });
    expect(get("/openstack/2013-04-04/network_data.json")).toBe("404");
    expect([get("/openstack/latest/user_data"), get("/openstack/latest/vendor_data.json")]).toEqual(["for all", "{}"]);
  });

  test("what is said of a port comes before what is said of all; another project's device of the same name gets nothing of it", () => {
    const port = { id: "x", project_id: "p", device_id: "dev" };
    const some: GivenFile = { ...given, ports: { x: { user_data: "mine" } } };
    expect(givenTo(some, port)).toEqual({ user_data: "mine", public_keys: ["ssh-ed25519 AAAA all", "ssh-rsa BBBB project"], meta: { role: "web" } });
    expect(givenTo(some, { ...port, id: "y", project_id: "evil" })).toEqual({ user_data: "for all", public_keys: ["ssh-ed25519 AAAA all"], meta: {} });
    expect(givenTo(some, { id: "constructor", project_id: "__proto__", device_id: "toString" }).meta).toEqual({});
  });

  test.each([
    ["{", "is of a file that is not JSON"], ["[]", "is of a file in which its content must be an object"], ['{"user_data": 1}', "is of a file in which user_data must be a string"],
    ['{"public_keys": ["x"]}', "public_keys must be a list of keys"], ['{"ports": {"a": {"hostname": "-"}}}', "ports.a.hostname must be a name of a host"],
    ['{"projects": {"p": {"devices": {"d": {"other": 1}}}}}', "projects.p.devices.d.other is unknown"], ['{"projects": {"p": {"devices": 1}}}', "projects.p.devices must be an object"],
  ])("a file with %s is refused, and says why", (text, why) => {
    expect(faultOf(text)).toContain(why);
    expect(() => settingValue(metadataSettings.declared["metadata-file"], "f", "--metadata-file", () => Buffer.from(text))).toThrow(`--metadata-file ${faultOf(text)!}`);
  });
  test("a file without a secret is refused", () => {
    expect(() => settingValue(metadataSettings.declared["metadata-secret-file"], "f", "--metadata-secret-file", () => Buffer.from("\n"))).toThrow("without a secret");
  });
});

describe("of Nova", () => {
  const NOVA = { "nova-metadata-url": "http://nova.example:8775/meta/", "metadata-secret-file": Buffer.from("s3cret\n") };

  test("it is told who asks, signed; a port of no machine has no metadata", async () => {
    const asked: { url: string; method: string; headers: Readonly<Record<string, string>> }[] = [];
    const { h, ask, port } = await world(NOVA, (url, { method, headers }) => {
      asked.push({ url: String(url), method, headers });
      return Promise.resolve(new Response("yes", { status: 200, headers: { "content-type": "text/x-test", "set-cookie": "a=b" } }));
    });
    const answer = await ask(closing("/latest/x?y=1"));
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*content-type: text\/x-test\r\n[^]*\r\n\r\nyes$/);
    expect(answer).not.toContain("a=b");
    // printf %s dev | openssl dgst -sha256 -hmac s3cret
    expect(asked).toMatchObject([{ url: "http://nova.example:8775/meta/latest/x?y=1", method: "GET", headers: { "x-instance-id": "dev", "x-forwarded-for": "10.0.0.9", "x-instance-id-signature": "11aba17821fb77c93fdcebfedea1155c96b39118c74294e4477b6a36171188ea" } }]);
    for (const path of ["/../admin", "/%2e%2e/admin", "http://elsewhere.example/", "//elsewhere.example/"]) await ask(closing(path));
    expect(asked.slice(1).map((a) => new URL(a.url)).filter((u) => u.host !== "nova.example:8775" || !u.pathname.startsWith("/meta/"))).toEqual([]);
    await h.call("PUT", `/v2.0/ports/${port}`, { port: { device_id: "" } });
    await h.settled();
    expect(await ask(closing("/latest/x"))).toMatch(/^HTTP\/1\.1 404 /);
    expect(h.complaints).toEqual([]);
  });

  test.each([[403, 403], [404, 404], [503, 503], [401, 500], [302, 500]])("its %i is the machine's %i", async (status, told) => {
    const { h, ask } = await world(NOVA, () => Promise.resolve(new Response("why", { status })));
    expect(await ask(closing("/x"))).toMatch(new RegExp(`^HTTP/1\\.1 ${told} `));
    expect(["2xx", "4xx", "5xx"].map((c) => h.metrics.value("axion_metadata_requests_total", { status: c }))).toEqual([0, told < 500 ? 1 : 0, told < 500 ? 0 : 1]);
  });

  test("where it is out of reach: 503, and a problem", async () => {
    const { h, ask } = await world(NOVA, () => Promise.reject(new Error("nobody there")));
    expect(await ask(closing("/x"))).toMatch(/^HTTP\/1\.1 503 /);
    expect(h.view.facts(metadataTroubleTable)).toMatchObject([{ text: expect.stringContaining("nobody there") }]);
    expect(h.apps.find((a) => a.name === "metadata")!.problems!(h.view)).toMatchObject([{ kind: "nova_silent" }]);
  });
});
