// Many clients at once, over real connections: nobody is given what another has, nobody's change is lost, and what was acknowledged is there after a crash.
import http from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ControllerProcess, httpCall, nightly, type HttpAnswer } from "../support/process.ts";

const CLIENTS = 32;
const PORTS = nightly ? 10_000 : 1000;
const ROUNDS = nightly ? 100 : 10;
const MEMBER = { "x-project-id": "p1", "x-roles": "member" };

interface Port {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly mac_address: string;
  readonly fixed_ips: readonly { readonly ip_address: string; readonly subnet_id: string }[];
  readonly revision_number: number;
  readonly tags: readonly string[];
}
type Call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<HttpAnswer>;

let controller: ControllerProcess;
/** One connection each, kept alive. */
const agents = Array.from({ length: CLIENTS }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
const clients: readonly Call[] = agents.map((agent) => (method, path, body, headers = {}) => httpCall(controller.apiPort, method, `/v2.0/${path}`, body, { ...MEMBER, ...headers }, agent, 60_000));
beforeAll(async () => {
  controller = await ControllerProcess.start();
});
afterAll(async () => {
  for (const agent of agents) agent.destroy();
  await controller?.destroy();
});

const shown = (answer: HttpAnswer): Port => (answer.body as { port: Port }).port;
const together = <T>(what: (call: Call, client: number) => Promise<T>): Promise<T[]> => Promise.all(clients.map(what));
const stored = async (id: string): Promise<Port> => shown(await clients[0]!("GET", `ports/${id}`));
const network = async (cidr: string): Promise<string> => {
  const { id } = await controller.create("network", { name: cidr }, MEMBER);
  await controller.create("subnet", { network_id: id, ip_version: 4, cidr }, MEMBER);
  return id;
};

test(`${PORTS} ports of ${CLIENTS} clients in one network have each its own MAC and address, also after a crash`, { timeout: nightly ? 600_000 : 120_000 }, async () => {
  const id = await network("10.0.0.0/16");
  const made: Port[] = [];
  let next = 0;
  await together(async (call, client) => {
    while (next < PORTS) {
      const name = `vm${next++}`;
      const answer = await call("POST", "ports", { port: { network_id: id, name, description: `of ${client}` } });
      expect(answer.status, answer.text).toBe(201);
      made.push(shown(answer));
    }
  });
  expect(made).toHaveLength(PORTS);
  for (const port of made) expect(port.fixed_ips, port.id).toHaveLength(1);
  const counted = (values: readonly string[]): number => new Set(values).size;
  expect(counted(made.map((p) => p.id))).toBe(PORTS);
  expect(counted(made.map((p) => p.mac_address))).toBe(PORTS);
  expect(counted(made.map((p) => p.fixed_ips[0]!.ip_address))).toBe(PORTS);
  expect(counted(made.map((p) => p.name))).toBe(PORTS);

  const byId = (a: Port, b: Port): number => (a.id < b.id ? -1 : 1);
  const listed = async (): Promise<Port[]> => ((await clients[0]!("GET", `ports?network_id=${id}`)).body as { ports: Port[] }).ports.toSorted(byId);
  made.sort(byId);
  expect(await listed()).toEqual(made);
  await controller.kill9();
  await controller.start();
  expect(await listed()).toEqual(made);

  // What goes gives its address back.
  const left = made.slice(0, PORTS / 2).map((p) => p.id);
  await together(async (call) => {
    for (let port = left.pop(); port !== undefined; port = left.pop()) expect((await call("DELETE", `ports/${port}`)).status).toBe(204);
  });
  expect(await listed()).toEqual(made.slice(PORTS / 2));
  const free = await Promise.all(made.slice(0, CLIENTS).map((port, k) => clients[k]!("POST", "ports", { port: { network_id: id, fixed_ips: [{ ip_address: port.fixed_ips[0]!.ip_address }] } })));
  expect(free.map((answer) => answer.status)).toEqual(free.map(() => 201));
});

test("an address that all ask for is given to one of them", async () => {
  const id = await network("10.1.0.0/16");
  for (let round = 0; round < ROUNDS; round++) {
    const address = `10.1.9.${round + 1}`;
    const answers = await together((call) => call("POST", "ports", { port: { network_id: id, fixed_ips: [{ ip_address: address }] } }));
    expect(answers.map((a) => a.status).toSorted((a, b) => a - b), address).toEqual([201, ...Array.from({ length: CLIENTS - 1 }, () => 409)]);
  }
});

test("a pool that is too small for all gives out each of its addresses once", async () => {
  const { id } = await controller.create("network", { name: "small" }, MEMBER);
  await controller.create("subnet", { network_id: id, ip_version: 4, cidr: "10.2.0.0/28" }, MEMBER);
  const answers = await together((call) => call("POST", "ports", { port: { network_id: id } }));
  const given = answers.filter((a) => a.status === 201).map((a) => shown(a).fixed_ips[0]!.ip_address);
  expect(new Set(given).size).toBe(13);
  expect(given).toHaveLength(13);
  for (const answer of answers) if (answer.status !== 201) expect([answer.status, (answer.body as { NeutronError: { type: string } }).NeutronError.type]).toEqual([409, "IpAddressGenerationFailure"]);
});

test("of updates with the same If-Match exactly one wins, and of it all that it says", async () => {
  const id = await network("10.3.0.0/16");
  const port = await controller.create("port", { network_id: id }, MEMBER);
  for (let round = 0; round < ROUNDS; round++) {
    const before = await stored(port.id);
    const answers = await together((call, k) => call("PUT", `ports/${port.id}`, { port: { name: `${round} ${k}`, description: `${round} ${k}` } }, { "if-match": `revision_number=${before.revision_number}` }));
    const won = answers.filter((a) => a.status === 200).map(shown);
    expect(won).toHaveLength(1);
    expect(won[0]).toMatchObject({ revision_number: before.revision_number + 1, description: won[0]!.name });
    expect(await stored(port.id)).toEqual(won[0]);
    for (const answer of answers) if (answer.status !== 200) expect([answer.status, (answer.body as { NeutronError: { type: string } }).NeutronError.type]).toEqual([412, "RevisionNumberConstraintFailed"]);
  }
});

test("of updates without it each is whole, has a revision of its own, and the last of these stays", async () => {
  const id = await network("10.4.0.0/16");
  const port = await controller.create("port", { network_id: id }, MEMBER);
  for (let round = 0; round < ROUNDS; round++) {
    const before = await stored(port.id);
    const answers = await together((call, k) => call("PUT", `ports/${port.id}`, { port: { name: `${round} ${k}`, description: `${round} ${k}`, fixed_ips: [{ ip_address: `10.4.${round}.${k + 1}` }] } }));
    const after = answers.map((answer) => {
      expect(answer.status, answer.text).toBe(200);
      return shown(answer);
    }).toSorted((a, b) => a.revision_number - b.revision_number);
    for (const one of after) expect(one.description).toBe(one.name);
    expect(after.map((p) => p.revision_number)).toEqual(after.map((_, i) => before.revision_number + 1 + i));
    expect(await stored(port.id)).toEqual(after.at(-1));
  }
});

test("tags that all add at once are all there", async () => {
  const id = await network("10.5.0.0/16");
  const port = await controller.create("port", { network_id: id }, MEMBER);
  const answers = await together((call, k) => call("PUT", `ports/${port.id}/tags/t${k}`));
  expect(answers.map((a) => a.status)).toEqual(answers.map(() => 201));
  expect((await stored(port.id)).tags.toSorted()).toEqual(clients.map((_, k) => `t${k}`).toSorted());
});
