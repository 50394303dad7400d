// What projects may do to each other by names.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Harness } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { answer } from "./answer.ts";
import { A, Names } from "./dns.fixture.ts";

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

const P1 = { "x-project-id": "p1", "x-roles": "member" };
const EVIL = { "x-project-id": "evil", "x-roles": "member" };
const real = (): void => {
  names.answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [{ name: questions[0]!.name, class: 1, ttl: 9, type: "A", data: { address: "198.51.100.7" } }] }];
};

async function sharedNetwork(): Promise<{ net: string; victim: string }> {
  const net = (await h.create("network", { name: "shared", shared: true })).id;
  await h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" });
  const victim = await h.create("port", { network_id: net, fixed_ips: [{ ip_address: "10.0.0.9" }], project_id: "p1" });
  await names.plug(victim.id);
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
  names.answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [] }];
  for (const name of [".", "com"]) expect((await ask(asker, { questions: [{ name, type: "SOA", class: 1 }] }))?.rcode, name).toBe(0);
});

test("a name server's answer with two OPT records is no trouble", async () => {
  const { asker } = await cloud();
  const opt = (n: number) => ({ type: "OPT" as const, udp_size: 4096, extended_rcode: 0, version: 0, flags: 0, options: [{ option: 65001, value: Buffer.alloc(n) }] as never });
  names.answers = ({ id, questions }) => [{ id, qr: true, questions, answers: [], additionals: [opt(5), opt(1200)] }];
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
