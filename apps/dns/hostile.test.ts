// What projects may do to each other by names.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildDns, buildEthernet, buildIpv4, buildIpv6, buildUdp, ethertypes, ipProtocols, parseDns, parsePacket, type DnsInput, type DnsMessage, type DnsQuestion } from "packet-codec";
import type { DatagramNetwork } from "../../src/services/index.ts";
import { Harness } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { answer } from "./answer.ts";
import { SERVICE } from "./model.ts";

let h: Harness;
/** Questions that came to name servers, with who was asked; `answers` says what comes back. */
let outside: { readonly address: string; readonly port: number; readonly question: DnsMessage }[];
let answers: (question: DnsMessage, address: string) => DnsInput[];
let silentNow: DatagramNetwork["open"] | undefined;
const network: DatagramNetwork = {
  open(to, data, heard, failed) {
    if (silentNow !== undefined) return silentNow(to, data, heard, failed);
    const question = parseDns(data);
    outside.push({ ...to, question });
    const replies = answers(question, to.address);
    setImmediate(() => {
      if (replies.length === 0) failed(new Error("nobody there"));
      for (const reply of replies) heard(buildDns(reply));
    });
    return { close: () => undefined };
  },
  nameServers: () => [{ address: "192.0.2.53", port: 53 }],
};
beforeEach(async () => {
  outside = [];
  answers = () => [];
  h = await Harness.make([], undefined, { datagrams: network });
  await h.addChassis("hv1");
});
afterEach(() => h.close());

const A = (name: string): DnsQuestion => ({ name, type: "A", class: 1 });
let ofports = 0;

async function cloud(more: object = {}): Promise<{ net: string; subnet: string; asker: string }> {
  const net = (await h.create("network", { name: "blue", ...more })).id;
  const subnet = (await h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  return { net, subnet, asker: (await plugged(net, "10.0.0.9")).id };
}
async function plugged(net: string, ip: string, more: object = {}): Promise<{ readonly id: string } & Record<string, never>> {
  const port = await h.create("port", { network_id: net, fixed_ips: [{ ip_address: ip }], ...more });
  await h.plug("hv1", port.id, ++ofports);
  await h.settled();
  return port;
}

/** What a machine hears when it asks. */
async function ask(portId: string, message: Partial<DnsInput>, { family = 4, ip = "10.0.0.9", raw }: { family?: 4 | 6; ip?: string; raw?: Buffer } = {}): Promise<DnsMessage | undefined> {
  const port = h.view.get(portTable, portId)!;
  const ends = family === 4 ? { src: ip, dst: SERVICE.ipv4 } : { src: ip, dst: SERVICE.ipv6 };
  const datagram = buildUdp({ src_port: 5555, dst_port: 53 }, raw ?? buildDns({ id: 77, rd: true, ...message }), ends);
  const data = buildEthernet(
    { dst: SERVICE.mac, src: port.mac_address, ethertype: family === 4 ? ethertypes.ipv4 : ethertypes.ipv6 },
    family === 4 ? buildIpv4({ ...ends, protocol: ipProtocols.udp }, datagram) : buildIpv6({ ...ends, next_header: ipProtocols.udp }, datagram),
  );
  const before = h.sent.length;
  h.packets.handle({ chassis: "hv1", inPort: 1, tableId: h.layout.table("dns_request").id, data, match: { [h.layout.register("in_port_key").field]: port.key } });
  for (let n = 0; n < 60; n++) {
    await new Promise((done) => setImmediate(done));
    h.clock.advance(0);
    if (h.sent.length > before) break;
  }
  const [sent] = h.sent.slice(before);
  if (sent === undefined) return undefined;
  expect(sent.packet).toMatchObject({ chassis: "hv1", stage: "locate", registers: { out_port_key: port.key, from_network: 1 } });
  const frame = parsePacket(Buffer.from(sent.packet.data));
  expect(frame.eth).toMatchObject({ dst: port.mac_address, src: SERVICE.mac });
  expect(frame.ipv4 ?? frame.ipv6).toMatchObject({ src: ends.dst, dst: ends.src });
  expect(frame.udp).toMatchObject({ src_port: 53, dst_port: 5555, checksumOk: true });
  return parseDns(frame.udp!.payload);
}
const addresses = async (portId: string, name: string): Promise<unknown> => {
  const answer = await ask(portId, { questions: [A(name)] });
  return answer?.rcode === 0 ? answer.answers.map((r) => (r.type === "A" ? r.data.address : r.type)) : answer?.rcode;
};


const P1 = { "x-project-id": "p1", "x-roles": "member" };
const EVIL = { "x-project-id": "evil", "x-roles": "member" };
const real = (): void => {
  answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [{ name: questions[0]!.name, class: 1, ttl: 9, type: "A", data: { address: "198.51.100.7" } }] }];
};

async function sharedNetwork(): Promise<{ net: string; victim: string }> {
  const net = (await h.create("network", { name: "shared", shared: true })).id;
  await h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" });
  const victim = await h.create("port", { network_id: net, fixed_ips: [{ ip_address: "10.0.0.9" }], project_id: "p1" });
  await h.plug("hv1", victim.id, ++ofports);
  await h.settled();
  return { net, victim: victim.id };
}

describe("on a network that is shared", () => {
  test("a port's own domain does not take a name of the outside away from machines of others", async () => {
    const { net, victim } = await sharedNetwork();
    real();
    expect(await addresses(victim, "www.bank.example")).toEqual(["198.51.100.7"]);
    await h.create("port", { network_id: net, dns_name: "www", dns_domain: "bank.example." }, EVIL);
    await h.settled();
    expect(await addresses(victim, "www.bank.example")).toEqual(["198.51.100.7"]);
  });

  test("neither does a name with dots", async () => {
    const { net, victim } = await sharedNetwork();
    real();
    await h.create("port", { network_id: net, dns_name: "login.bank.example" }, EVIL);
    await h.settled();
    expect(await addresses(victim, "login.bank.example")).toEqual(["198.51.100.7"]);
  });

  test("a name of one's own project's port is not answered with ports of others", async () => {
    const { net, victim } = await sharedNetwork();
    const db = await h.create("port", { network_id: net, dns_name: "db" }, P1);
    await h.create("port", { network_id: net, dns_name: "db" }, EVIL);
    await h.settled();
    expect(await addresses(victim, "db.axion.internal")).toEqual([(db.fixed_ips as unknown as { ip_address: string }[])[0]!.ip_address]);
  });

  test("nor does the name of an address", async () => {
    const { net, victim } = await sharedNetwork();
    await h.create("port", { network_id: net, dns_name: "host-10-0-0-9" }, EVIL);
    await h.settled();
    expect(await addresses(victim, "host-10-0-0-9")).toEqual(["10.0.0.9"]);
  });
});

test("a name that is too long below the domain of all is refused, or its address has an answer", async () => {
  const { net, asker } = await cloud();
  const dns_name = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(55)}`;
  const made = await h.call("POST", "/v2.0/ports", { port: { network_id: net, dns_name, fixed_ips: [{ ip_address: "10.0.0.20" }] } });
  await h.settled();
  const reply = await ask(asker, { questions: [{ name: "20.0.0.10.in-addr.arpa", type: "PTR", class: 1 }] });
  expect(made.status === 400 || reply?.rcode === 0).toBe(true);
  expect(h.complaints).toEqual([]);
});

test("the root and the top domains are there", async () => {
  const { asker } = await cloud();
  answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [] }];
  for (const name of [".", "com"]) expect((await ask(asker, { questions: [{ name, type: "SOA", class: 1 }] }))?.rcode, name).toBe(0);
});

test("a name server's answer with two OPT records is no trouble", async () => {
  const { asker } = await cloud();
  const opt = (n: number) => ({ type: "OPT" as const, udp_size: 4096, extended_rcode: 0, version: 0, flags: 0, options: [{ option: 65001, value: Buffer.alloc(n) }] as never });
  answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [], additionals: [opt(5), opt(1200)] }];
  const reply = await ask(asker, { questions: [A("lies.example")], additionals: [{ ...opt(0), options: [] as never, udp_size: 512 }] });
  expect(reply).toBeDefined();
  expect(h.complaints).toEqual([]);
});

test("a question for a name that very many ports of others have reads few of them", async () => {
  const { net, victim } = await sharedNetwork();
  await h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.8.0.0/16" });
  const made = await h.call("POST", "/v2.0/ports", { ports: Array.from({ length: 500 }, () => ({ network_id: net, dns_name: "db", project_id: "evil" })) });
  expect(made.status).toBe(201);
  await h.settled();
  let reads = 0;
  const counting = new Proxy(h.view, {
    get(view, name) {
      const value: unknown = Reflect.get(view, name, view);
      if (typeof value !== "function") return value;
      if (name === "get" || name === "by") reads++;
      return (value as (...args: unknown[]) => unknown).bind(view);
    },
  });
  answer(counting, h.view.get(portTable, victim)!, { questions: [A("db")] });
  expect(reads).toBeLessThan(200);
});
