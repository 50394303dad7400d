// Names through the API, what DHCP tells of them, and answers to questions.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildDns, parseDns, type DnsOptRecord } from "packet-codec";
import type { ExchangeNetwork } from "../../src/services/index.ts";
import type { Harness } from "../../test/support/harness.ts";
import { portOfferTable, subnetOfferTable, subnetRouteTable } from "../dhcp/model.ts";
import { addressOfReverse } from "./answer.ts";
import { A, Names } from "./dns.fixture.ts";
import { nameServerTroubleTable, SERVICE } from "./model.ts";

let names: Names;
let h: Harness;
beforeEach(async () => {
  names = await Names.make();
  ({ h } = names);
});
afterEach(() => h.close());
const ask: Names["ask"] = (...question) => names.ask(...question);
const addresses: Names["addresses"] = (...question) => names.addresses(...question);
const cloud: Names["cloud"] = (values) => names.cloud(values);
const plugged: Names["plugged"] = (...port) => names.plugged(...port);
/** Questions so far that ended so. */
const counted = (answer: string): number => h.metrics.value("axion_dns_questions_total", { answer });
const post = async (collection: string, name: string, values: object, headers = {}) => (await h.call("POST", `/v2.0/${collection}`, { [name]: values }, headers)).body;

describe("the attributes", () => {
  test("of a port: how each address is called", async () => {
    const { net } = await cloud();
    const web = await plugged(net, "10.0.0.5", { dns_name: "Web" });
    expect(web).toMatchObject({ dns_name: "web", dns_domain: "", dns_assignment: [{ ip_address: "10.0.0.5", hostname: "web", fqdn: "web.axion.internal." }] });
    const none = await plugged(net, "10.0.0.6");
    expect(none).toMatchObject({ dns_name: "", dns_assignment: [{ ip_address: "10.0.0.6", hostname: "host-10-0-0-6", fqdn: "host-10-0-0-6.axion.internal." }] });
    const changed = await h.call("PUT", `/v2.0/ports/${web.id}`, { port: { dns_name: "", dns_domain: "x.example." } });
    expect(changed.body.port).toMatchObject({ dns_name: "", dns_domain: "x.example.", dns_assignment: [{ hostname: "host-10-0-0-5" }] });
    const whole = await h.call("PUT", `/v2.0/ports/${web.id}`, { port: { dns_name: "w.axion.internal." } });
    expect(whole.body.port).toMatchObject({ dns_name: "w.axion.internal.", dns_assignment: [{ hostname: "w", fqdn: "w.axion.internal." }] });
  });

  test.each([
    ["dns_name", "-web", "Name '-web' must not start or end with a hyphen"], ["dns_name", "we_b", "Name 'we_b' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"],
    ["dns_name", "a..b", "Encountered an empty component"], ["dns_name", "web.123", "TLD '123' must not be all numeric"], ["dns_name", "a".repeat(64), "must be 1-63 characters long"],
    ["dns_name", "web.elsewhere.example.", "is a FQDN that does not end with the DNS domain 'axion.internal.'"], ["dns_name", "axion.internal.", "does not end with"],
    ["dns_domain", "example.org", "'example.org' is not a FQDN"], ["dns_name", 7, "'7' is not a valid string"], ["dns_name", null, "not a valid string"], ["dns_name", "ü", "can only be alphanumeric"],
  ])("%s %s is refused, and says why", async (attribute, value, why) => {
    const { net } = await cloud();
    const generation = h.model.generation;
    const answer = await h.call("POST", "/v2.0/ports", { port: { network_id: net, [attribute]: value } });
    expect(answer.status).toBe(400);
    expect(answer.body.NeutronError.message).toContain(why);
    expect(h.model.generation).toBe(generation);
  });

  test("of networks and floating IPs; nothing is left of what is deleted", async () => {
    const made = await post("networks", "network", { name: "n", dns_domain: "Sales.Example." });
    expect(made.network.dns_domain).toBe("sales.example.");
    const { network: outsideNet } = await post("networks", "network", { name: "out", "router:external": true });
    await post("subnets", "subnet", { network_id: outsideNet.id, ip_version: 4, cidr: "203.0.113.0/24" });
    const { floatingip } = await post("floatingips", "floatingip", { floating_network_id: outsideNet.id, dns_name: "www", dns_domain: "example.org." });
    expect(floatingip).toMatchObject({ dns_name: "www", dns_domain: "example.org." });
    expect((await h.call("PUT", `/v2.0/floatingips/${floatingip.id}`, { floatingip: { dns_name: "x" } })).status).toBe(400);
    expect((await post("floatingips", "floatingip", { floating_network_id: outsideNet.id, dns_name: "www" })).NeutronError.message).toContain("dns_name cannot be specified without a dns_domain");
    expect((await h.call("DELETE", `/v2.0/networks/${made.network.id}`)).status).toBe(204);
    expect((await h.call("DELETE", `/v2.0/floatingips/${floatingip.id}`)).status).toBe(204);
    expect([...(await h.stored()).keys()].filter((key) => /name|domain/.test(key))).toEqual([]);
  });
});

describe("what machines are told", () => {
  test("the service where a subnet names no server, on the link where there is no router; the name of the port", async () => {
    const { net, subnet } = await cloud({ dns_domain: "blue.example." });
    const offer = () => h.view.get(subnetOfferTable, `dns/${subnet}`);
    const onLink = () => h.view.by(subnetRouteTable, "subnet", subnet).map(({ destination, nexthop }) => `${destination} ${nexthop}`);
    expect(offer()).toMatchObject({ name_servers: [SERVICE.ipv4], domain: "blue.example" });
    expect(onLink()).toEqual([`${SERVICE.ipv4}/32 0.0.0.0`]);
    const router = await h.create("router", {});
    await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet });
    await h.settled();
    expect(offer()).toMatchObject({ name_servers: [SERVICE.ipv4] });
    expect(onLink()).toEqual([]);
    await h.call("PUT", `/v2.0/subnets/${subnet}`, { subnet: { dns_nameservers: ["192.0.2.1"] } });
    await h.settled();
    expect(offer()).toMatchObject({ name_servers: [], domain: "blue.example" });
    const web = await plugged(net, "10.0.0.5", { dns_name: "web" });
    expect(h.view.get(portOfferTable, `dns/${web.id}`)).toMatchObject({ host_name: "web" });
  });

  test("flows are there where machines are told of the service, and nowhere else", async () => {
    const { subnet } = await cloud();
    const flows = (): number => [...h.engine.flowsOf("hv1")].filter((f) => f.table === h.layout.table("port_security").id && f.priority === 160).length;
    expect(flows(), "by UDP and by TCP").toBe(2);
    await h.call("PUT", `/v2.0/subnets/${subnet}`, { subnet: { dns_nameservers: ["192.0.2.1"] } });
    await h.settled();
    expect(flows()).toBe(0);
  });
});

describe("questions", () => {
  test("for names of ports: with the domain of all, of the network, of the port, with none", async () => {
    const { net, asker } = await cloud({ dns_domain: "blue.example." });
    await plugged(net, "10.0.0.5", { dns_name: "web", dns_domain: "shop.example." });
    for (const name of ["web", "WEB.axion.internal", "web.blue.example.", "web.shop.example"]) expect(await addresses(asker, name), name).toEqual(["10.0.0.5"]);
    expect(await addresses(asker, "host-10-0-0-9.axion.internal")).toEqual(["10.0.0.9"]);
    expect(await addresses(asker, "host-10-0-0-5"), "it has a name").toBe(3);
    expect(await addresses(asker, "nobody.axion.internal")).toBe(3);
    expect(await addresses(asker, "nobody")).toBe(3);
    expect(await addresses(asker, "axion.internal")).toEqual([]);
    const six = await ask(asker, { questions: [{ name: "web", type: "AAAA", class: 1 }] });
    expect(six).toMatchObject({ rcode: 0, answers: [], aa: true, ra: true, id: 77, qr: true });
    expect(names.outside).toEqual([]);
  });

  test("for addresses", async () => {
    const { net, asker } = await cloud();
    await plugged(net, "10.0.0.5", { dns_name: "web" });
    const ptr = (name: string) => ask(asker, { questions: [{ name, type: "PTR", class: 1 }] });
    expect((await ptr("5.0.0.10.in-addr.arpa"))!.answers).toMatchObject([{ type: "PTR", data: { name: "web.axion.internal" } }]);
    expect((await ptr("9.0.0.10.in-addr.arpa"))!.answers).toMatchObject([{ data: { name: "host-10-0-0-9.axion.internal" } }]);
    expect(await ptr("77.0.0.10.in-addr.arpa"), "of the subnet, and of nobody").toMatchObject({ rcode: 3 });
    expect(addressOfReverse(`${"1.".padEnd(2)}${"0.".repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`)).toBe("2001:db8::1");
    expect(addressOfReverse("999.0.0.10.in-addr.arpa")).toBeUndefined();
  });

  test("of machines behind a router for those of their project; of others' networks nobody learns", async () => {
    const { net, subnet, asker } = await cloud();
    const other = (await h.create("network", { name: "red" })).id;
    const otherSubnet = (await h.create("subnet", { network_id: other, ip_version: 4, cidr: "10.1.0.0/24" })).id;
    await plugged(other, "10.1.0.5", { dns_name: "db" });
    await plugged(other, "10.1.0.6", { dns_name: "theirs", project_id: "somebody" });
    await plugged(net, "10.0.0.6", { dns_name: "guest", project_id: "somebody" });
    expect(await addresses(asker, "db"), "not connected").toBe(3);
    const router = await h.create("router", {});
    for (const id of [subnet, otherSubnet]) await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: id });
    await h.settled();
    expect(await addresses(asker, "db")).toEqual(["10.1.0.5"]);
    expect(await addresses(asker, "theirs"), "of another project, in another network").toBe(3);
    expect(await addresses(asker, "guest"), "of another project, in the same network").toEqual(["10.0.0.6"]);
  });

  test("on a network of several projects: nobody answers for a domain to others, and who has a name himself finds his own", async () => {
    const { net, asker } = await cloud();
    await plugged(net, "10.0.0.66", { dns_name: "www", dns_domain: "bank.example.", project_id: "mallory" });
    await plugged(net, "10.0.0.67", { dns_name: "db", project_id: "mallory" });
    await plugged(net, "10.0.0.68", { dns_name: "host-10-0-0-9", project_id: "mallory" });
    await plugged(net, "10.0.0.69", { dns_name: "mail.bank.example", project_id: "mallory" });
    names.answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [] }];
    for (const name of ["www.bank.example", "mail.bank.example"]) expect(await addresses(asker, name), name).toEqual([]);
    expect(names.outside.map(({ question }) => question.questions[0]!.name)).toEqual(["www.bank.example", "mail.bank.example"]);
    expect(await addresses(asker, "host-10-0-0-9")).toEqual(["10.0.0.9"]);
    expect(await addresses(asker, "db"), "nobody else is called so").toEqual(["10.0.0.67"]);
    await plugged(net, "10.0.0.5", { dns_name: "db" });
    expect(await addresses(asker, "db")).toEqual(["10.0.0.5"]);
  });

  test("a stranger's router on the network brings no networks of his", async () => {
    const { net, asker } = await cloud();
    const theirs = (await h.create("network", { name: "theirs", project_id: "mallory" })).id;
    const subnet = (await h.create("subnet", { network_id: theirs, ip_version: 4, cidr: "8.8.8.0/24", project_id: "mallory" })).id;
    const router = await h.create("router", { project_id: "mallory" });
    const door = await h.create("port", { network_id: net, project_id: "mallory", fixed_ips: [{ ip_address: "10.0.0.77" }] });
    await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { port_id: door.id });
    await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet });
    await h.settled();
    names.answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [] }];
    await ask(asker, { questions: [{ name: "9.8.8.8.in-addr.arpa", type: "PTR", class: 1 }] });
    expect(names.outside, "others are asked").toHaveLength(1);
    expect(await ask(asker, { questions: [{ name: "9.9.168.192.in-addr.arpa", type: "PTR", class: 1 }] }), "private").toMatchObject({ rcode: 3 });
    expect(names.outside).toHaveLength(1);
  });

  test("of many projects each has its share of what name servers are asked", async () => {
    const { net, asker } = await cloud();
    names.instead = (_, data) => {
      names.outside.push({ address: "", port: 0, question: parseDns(data) });
      return { close: () => undefined };
    };
    try {
      for (let n = 0; n < 14; n++) {
        const { id } = await plugged(net, `10.0.0.${100 + n}`, { project_id: "mallory" });
        for (let m = 0; m < 15; m++) await ask(id, { questions: [A(`n${n}x${m}.example.org`)] }, { ip: `10.0.0.${100 + n}` });
      }
      const before = names.outside.length;
      expect(before).toBe(200);
      await ask(asker, { questions: [A("mine.example.org")] });
      expect(names.outside.slice(before).map(({ question }) => question.questions[0]!.name)).toEqual(["mine.example.org"]);
    } finally {
      names.instead = undefined;
    }
  });

  test("for other names go to a name server, the next one if one is silent, and its answer comes back as to who asked", async () => {
    const { asker } = await cloud();
    names.answers = ({ id, questions }) => [
      { id: id ^ 1, qr: true, questions, answers: [{ name: "x", class: 1, ttl: 9, type: "A", data: { address: "198.51.100.66" } }] },
      { id, qr: true, questions: [A("elsewhere.example")], answers: [] },
      { id, qr: true, questions, answers: [{ name: questions[0]!.name, class: 1, ttl: 9, type: "A", data: { address: "198.51.100.7" } }] },
    ];
    expect(await addresses(asker, "www.example.org")).toEqual(["198.51.100.7"]);
    expect(names.outside).toMatchObject([{ address: "192.0.2.53", port: 53, question: { rd: true, questions: [{ name: "www.example.org" }] } }]);
    names.answers = () => [];
    expect(await addresses(asker, "www.example.org"), "server failure").toBe(2);
    expect(h.view.facts(nameServerTroubleTable)).toHaveLength(1);
  });

  test("one of a port that waits holds up none, and a port has few that wait", async () => {
    const { net, asker } = await cloud();
    await plugged(net, "10.0.0.5", { dns_name: "web" });
    names.answers = () => [];
    const silent: ExchangeNetwork["open"] = (_, data) => {
      names.outside.push({ address: "", port: 0, question: parseDns(data) });
      return { close: () => undefined };
    };
    names.instead = silent;
    try {
      for (let n = 0; n < 16; n++) expect(await ask(asker, { questions: [A(`n${n}.example.org`)] })).toBeUndefined();
      expect(await addresses(asker, "web")).toEqual(["10.0.0.5"]);
      expect(await addresses(asker, "more.example.org"), "one too many: server failure").toBe(2);
      expect(names.outside).toHaveLength(16);
      expect(["own", "limited", "failed"].map(counted)).toEqual([1, 1, 0]);
    } finally {
      names.instead = undefined;
    }
  });

  test("that are none of ours: other classes, kinds of question, several at once, EDNS of the future, garbage", async () => {
    const { asker } = await cloud();
    expect(await ask(asker, { questions: [{ name: "web", type: "A", class: 3 }] })).toMatchObject({ rcode: 5 });
    expect(await ask(asker, { opcode: 5, questions: [A("web")] })).toMatchObject({ rcode: 4 });
    expect(await ask(asker, { questions: [A("a"), A("b")] })).toMatchObject({ rcode: 1 });
    const opt: DnsOptRecord = { type: "OPT", udp_size: 4096, extended_rcode: 0, version: 1, flags: 0, options: [] };
    expect(await ask(asker, { questions: [A("web")], additionals: [opt] })).toMatchObject({ rcode: 0, additionals: [{ type: "OPT", extended_rcode: 1, version: 0 }] });
    expect(await ask(asker, { rd: false, questions: [A("www.example.org")] }), "it asks nobody for those who want no recursion").toMatchObject({ rcode: 5 });
    expect(await ask(asker, { qr: true, questions: [A("web")] })).toBeUndefined();
    const whole = buildDns({ id: 1, rd: true, questions: [A("web")] });
    expect(["refused", "malformed"].map(counted)).toEqual([5, 0]);
    for (let cut = 0; cut < whole.length; cut++) expect(await ask(asker, {}, { raw: whole.subarray(0, cut) })).toBeUndefined();
    expect(["refused", "malformed"].map(counted)).toEqual([5, whole.length]);
    expect(h.complaints).toEqual([]);
  });
});
