// GET /v2.0/axion/watch: what a client hears of, and above all what it does not.
import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeAll, afterAll, describe, expect, test } from "vitest";
import { EventClient, type ServerEvent } from "../support/api/events.ts";
import { TokenFile } from "../../src/northbound/index.ts";
import { Harness, silent } from "../support/harness.ts";
import { ownFolder } from "../support/folder.ts";

let harness: Harness;
let port: number;
const clients: EventClient[] = [];
const as = (project: string, roles = "member"): Record<string, string> => ({ "x-project-id": project, "x-roles": roles });
const P1 = as("p1");
const P2 = as("p2");
const ADMIN = as("ops", "admin");

beforeAll(async () => {
  harness = await Harness.make([], undefined, { api: { limits: { watches: { gatherMs: 5, ofProject: 4, watchers: 6, resources: 60, remembered: 400, heartbeatMs: 200 } } } });
  for (const hv of ["hv1", "hv2"]) await harness.addChassis(hv);
  await harness.api.listen({ host: "127.0.0.1", port: 0 });
  port = (harness.api.server.address() as AddressInfo).port;
});
afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.close();
    await client.end();
  }
});
afterAll(() => harness.close());

async function watch(headers: Record<string, string>, query = "", more: Record<string, string> = {}): Promise<EventClient> {
  const client = await EventClient.open(port, `/v2.0/axion/watch${query}`, { ...headers, ...more });
  clients.push(client);
  if (client.status === 200) await client.until((e) => e.event === "ready");
  return client;
}
const refused = async (headers: Record<string, string>, query = "", more: Record<string, string> = {}): Promise<readonly [number, string, string]> => {
  const { statusCode, payload } = await harness.api.inject({ method: "GET", url: `/v2.0/axion/watch${query}`, headers: { ...headers, ...more } });
  const { type, message } = JSON.parse(payload).NeutronError;
  return [statusCode, type, message];
};
/** What a client was told of resources, in a line each. */
const told = (client: EventClient, from = 0): string[] => client.events.slice(from).filter((e) => ["created", "updated", "deleted"].includes(e.event)).map(({ data }) => `${data.event} ${data.resource} ${data.id}`);
/** Everything up to now is told: a sign that is made last and seen by everybody. */
async function caughtUp(client: EventClient, headers: Record<string, string>): Promise<void> {
  const { id } = await harness.create("security_group", { name: "sign" }, headers);
  await client.until((e) => e.event === "created" && e.data.id === id);
}
const put = async (path: string, body: object, headers = P1): Promise<void> => {
  const { status, body: answer } = await harness.call("PUT", `/v2.0/${path}`, body, headers);
  expect([status, answer]).toEqual([200, answer]);
};
const remove = async (path: string, headers = P1): Promise<void> => expect((await harness.call("DELETE", `/v2.0/${path}`, undefined, headers)).status).toBe(204);
/** With everybody. */
const share = (network: string, shared: boolean): Promise<void> => put(`networks/${network}`, { network: { shared } }, ADMIN);
const of = (e: ServerEvent, verb: string, resource: string, id: string): boolean => e.data.event === verb && e.data.resource === resource && e.data.id === id;

describe("changes of the project's own", () => {
  test("are told as the API shows them, with the generation, and end with how far the client is", async () => {
    const client = await watch(P1);
    expect(client.response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const network = await harness.create("network", { name: "n" }, P1);
    const made = await client.until((e) => of(e, "created", "network", network.id));
    expect(made.data.network).toEqual((await harness.call("GET", `/v2.0/networks/${network.id}`, undefined, P1)).body.network);
    const subnet = await harness.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" }, P1);
    // The network shows its subnets.
    const after = await client.until((e) => of(e, "updated", "network", network.id));
    expect(after.data.network.subnets).toEqual([subnet.id]);
    await put(`networks/${network.id}`, { network: { name: "m" } });
    await client.until((e) => of(e, "updated", "network", network.id) && e.data.network.name === "m");
    const vm = await harness.create("port", { network_id: network.id }, P1);
    await client.until((e) => of(e, "created", "port", vm.id));
    await harness.plug("hv1", vm.id, 7);
    await harness.installed("hv1", vm.id);
    await client.until((e) => of(e, "updated", "port", vm.id) && e.data.port.status === "ACTIVE");
    await remove(`ports/${vm.id}`);
    const gone = await client.until((e) => of(e, "deleted", "port", vm.id));
    expect(Object.keys(gone.data)).toEqual(["event", "generation", "resource", "id"]);
    const end = await client.until((e) => e.event === "generation" && client.events.indexOf(e) > client.events.indexOf(gone));
    expect(Number(end.id)).toBeGreaterThanOrEqual(gone.data.generation);
    expect(end.data).toEqual({ generation: Number(end.id) });
  });

  test("of what only some resources show, and of parts", async () => {
    const outside = await harness.create("network", { "router:external": true }, ADMIN);
    await harness.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24" }, ADMIN);
    const router = await harness.create("router", {}, P1);
    const client = await watch(P1, "?resource=conntrack_helper,port_forwarding");
    const admin = await watch(ADMIN, "?resource=conntrack_helper&project_id=p1");
    await put(`routers/${router.id}`, { router: { external_gateway_info: { network_id: outside.id } } });
    const { body } = await harness.call("POST", `/v2.0/routers/${router.id}/conntrack_helpers`, { conntrack_helper: { protocol: "tcp", port: 21, helper: "ftp" } }, P1);
    const made = await client.until((e) => e.event === "created");
    expect([made.data.resource, made.data.id, made.data.router_id, made.data.conntrack_helper]).toEqual(["conntrack_helper", body.conntrack_helper.id, router.id, body.conntrack_helper]);
    // Another's are nobody's here, whatever is said of them.
    const theirs = await harness.create("router", {}, P2);
    await harness.call("POST", `/v2.0/routers/${theirs.id}/conntrack_helpers`, { conntrack_helper: { protocol: "tcp", port: 21, helper: "ftp" } }, P2);
    await remove(`routers/${router.id}/conntrack_helpers/${body.conntrack_helper.id}`);
    await client.until((e) => e.event === "deleted");
    await admin.until((e) => e.event === "deleted");
    for (const one of [client, admin]) expect(told(one)).toEqual([`created conntrack_helper ${body.conntrack_helper.id}`, `deleted conntrack_helper ${body.conntrack_helper.id}`]);
  });
});

describe("of others", () => {
  test("nothing is told: not what they make, change and delete, nor what is refused", async () => {
    const client = await watch(P1);
    const from = client.events.length;
    const network = await harness.create("network", { name: "theirs" }, P2);
    await harness.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" }, P2);
    const vm = await harness.create("port", { network_id: network.id }, P2);
    await put(`ports/${vm.id}`, { port: { name: "x" } }, P2);
    await harness.call("DELETE", `/v2.0/networks/${network.id}`, undefined, P1);
    await remove(`ports/${vm.id}`, P2);
    await remove(`networks/${network.id}`, P2);
    await caughtUp(client, P1);
    expect(told(client, from).filter((line) => !line.includes("security_group"))).toEqual([]);
    expect(JSON.stringify(client.events)).not.toContain(network.id);
  });

  test("what is shared is created with its parts for those who see it now, and deleted when it is shared no more", async () => {
    const network = await harness.create("network", { name: "shared" }, P2);
    const subnet = await harness.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.1.0.0/24" }, P2);
    const client = await watch(P1);
    await share(network.id, true);
    const made = await client.until((e) => of(e, "created", "network", network.id));
    expect(made.data.network).toEqual((await harness.call("GET", `/v2.0/networks/${network.id}`, undefined, P1)).body.network);
    expect([made.data.network.shared, "provider:segmentation_id" in made.data.network]).toEqual([true, false]);
    await client.until((e) => of(e, "created", "subnet", subnet.id));
    await put(`subnets/${subnet.id}`, { subnet: { name: "theirs" } }, P2);
    await client.until((e) => of(e, "updated", "subnet", subnet.id) && e.data.subnet.name === "theirs");
    await share(network.id, false);
    await client.until((e) => of(e, "deleted", "network", network.id));
    await client.until((e) => of(e, "deleted", "subnet", subnet.id));
    const from = client.events.length;
    await put(`subnets/${subnet.id}`, { subnet: { name: "again" } }, P2);
    await put(`networks/${network.id}`, { network: { name: "again" } }, P2);
    await caughtUp(client, P1);
    expect(JSON.stringify(client.events.slice(from))).not.toMatch(new RegExp(`${network.id}|${subnet.id}`));
  });

  test("a group that is shared by a policy, as long as it is; the policy itself is its owner's", async () => {
    const group = await harness.create("security_group", { name: "theirs" }, P2);
    const client = await watch(P1);
    const policy = await harness.create("rbac_policy", { object_type: "security_group", object_id: group.id, action: "access_as_shared", target_tenant: "p1" }, P2);
    const made = await client.until((e) => of(e, "created", "security_group", group.id));
    expect(made.data.security_group).toEqual((await harness.call("GET", `/v2.0/security-groups/${group.id}`, undefined, P1)).body.security_group);
    await remove(`rbac-policies/${policy.id}`, P2);
    await client.until((e) => of(e, "deleted", "security_group", group.id));
    await put(`security-groups/${group.id}`, { security_group: { name: "secret" } }, P2);
    await caughtUp(client, P1);
    expect(JSON.stringify(client.events)).not.toContain("secret");
    expect(JSON.stringify(client.events)).not.toContain(policy.id);
  });

  test("ports of others on one's own network are told, and only what one may see of them", async () => {
    const network = await harness.create("network", {}, P1);
    await harness.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.2.0.0/24" }, P1);
    await share(network.id, true);
    const [owner, admin] = [await watch(P1, "?resource=port"), await watch(ADMIN, "?resource=port&project_id=p2")];
    const vm = await harness.create("port", { network_id: network.id }, P2);
    const seen = (await owner.until((e) => of(e, "created", "port", vm.id))).data.port;
    expect(seen).toEqual((await harness.call("GET", `/v2.0/ports/${vm.id}`, undefined, P1)).body.port);
    const all = (await admin.until((e) => of(e, "created", "port", vm.id))).data.port;
    expect(["binding:host_id" in seen, "binding:host_id" in all]).toEqual([false, true]);
    const from = owner.events.length;
    // What an administrator alone is shown is no change for others.
    await remove(`ports/${vm.id}`, P2);
    await owner.until((e) => of(e, "deleted", "port", vm.id));
    expect(told(owner, from)).toEqual([`deleted port ${vm.id}`]);
  });
});

describe("coming back", () => {
  test("is told what became of what it saw since, once each, and then goes on", async () => {
    const [kept, changed, gone] = await Promise.all(["kept", "changed", "gone"].map((name) => harness.create("network", { name }, P1)));
    const first = await watch(P1);
    await caughtUp(first, P1);
    const last = await first.until((e) => e.event === "generation");
    const at = Math.max(...first.events.flatMap((e) => (e.id === undefined ? [] : [Number(e.id)])));
    expect(at).toBeGreaterThanOrEqual(Number(last.id));
    first.close();
    await first.end();
    for (const name of ["a", "b", "c"]) await put(`networks/${changed!.id}`, { network: { name } });
    await remove(`networks/${gone!.id}`);
    const made = await harness.create("network", { name: "made" }, P1);
    const brief = await harness.create("network", { name: "brief" }, P1);
    await remove(`networks/${brief.id}`);
    const theirs = await harness.create("network", { name: "theirs" }, P2);
    await remove(`networks/${theirs.id}`, P2);
    for (const again of [await watch(P1, `?since=${at}`), await watch(P1, "", { "last-event-id": String(at) })]) {
      const before = told(again).filter((line) => line.includes(" network "));
      expect(before.sort()).toEqual([`created network ${made.id}`, `deleted network ${gone!.id}`, `updated network ${changed!.id}`]);
      expect(again.events.find((e) => e.data.id === changed!.id)!.data.network.name).toBe("c");
      expect(JSON.stringify(again.events)).not.toContain(theirs.id);
    }
    expect(kept!.id).toBeDefined();
    const now = await watch(P1, `?since=${harness.model.generation}`);
    expect(told(now)).toEqual([]);
    await put(`networks/${kept!.id}`, { network: { name: "later" } });
    await now.until((e) => of(e, "updated", "network", kept!.id));
  });

  test("is told of what it may see no more as deleted", async () => {
    const network = await harness.create("network", {}, P2);
    await share(network.id, true);
    await harness.settled();
    const at = harness.model.generation;
    await share(network.id, false);
    expect(told(await watch(P1, `?since=${at}&resource=network`))).toEqual([`deleted network ${network.id}`]);
    expect(told(await watch(as("p2"), `?since=${at}&resource=network`))).toEqual([`updated network ${network.id}`]);
  });

  test("from a generation that is not remembered, or not yet there, it has to begin anew: 410", async () => {
    const before = harness.model.generation;
    const { id } = await harness.create("network", {}, P1);
    for (let i = 0; i < 450; i++) await put(`networks/${id}`, { network: { name: `n${i}` } });
    expect((await refused(P1, `?since=${before}`)).slice(0, 2)).toEqual([410, "HTTPGone"]);
    expect((await refused(P1, "?since=0")).slice(0, 2)).toEqual([410, "HTTPGone"]);
    expect((await refused(P1, `?since=${harness.model.generation + 1}`)).slice(0, 2)).toEqual([410, "HTTPGone"]);
    expect(told(await watch(P1, `?since=${harness.model.generation - 1}&resource=network`))).toEqual([`updated network ${id}`]);
  });
});

describe("limits", () => {
  test.each([
    ["?since=soon", "since"], ["?since=-1", "since"], ["?resource=nothing", "resource"], ["?resource=agent_secrets,network", "resource"], ["?name=x", "name"], ["?project_id=a&project_id=b", "project_id"], ["?wait=dataplane", "wait"],
  ])("%s is refused by name", async (query, named) => {
    const [status, type, message] = await refused(P1, query);
    expect([status, type]).toEqual([400, "InvalidInput"]);
    expect(message).toContain(named);
  });

  test("other methods and media types are refused", async () => {
    for (const method of ["POST", "PUT", "DELETE"] as const) expect((await harness.api.inject({ method, url: "/v2.0/axion/watch", headers: P1 })).statusCode).toBe(405);
    expect((await refused(P1, "", { accept: "application/xml" }))[0]).toBe(406);
    expect((await refused(P1, "", { "last-event-id": "x" }))[2]).toContain("Last-Event-ID");
  });

  test("a project has so many watchers, and all have; one that leaves makes room", async () => {
    const four = await Promise.all([1, 2, 3, 4].map(() => watch(P1, "?resource=network")));
    expect((await refused(P1)).slice(0, 2)).toEqual([429, "TooManyRequests"]);
    await watch(P2, "?resource=network");
    await watch(P2, "?resource=network");
    expect((await refused(as("p3")))[0]).toBe(503);
    four[0]!.close();
    await four[0]!.end();
    for (;;) if ((await watch(P1, "?resource=network")).status === 200) break;
  });

  test("a watcher follows so many resources, and is told how to follow fewer; others do not count", async () => {
    const network = await harness.create("network", {}, P2);
    await harness.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.8.0.0/16" }, P2);
    const ports = Array.from({ length: 90 }, () => ({ network_id: network.id }));
    const made = await harness.call("POST", "/v2.0/ports", { ports }, as("p2", "admin"));
    expect(made.status).toBe(201);
    const mine = await watch(P1, "?resource=port");
    const [status, , message] = await refused(P2);
    expect([status, message]).toEqual([400, expect.stringContaining("resource=NAME")]);
    expect((await refused(ADMIN, "?resource=port"))[0]).toBe(400);
    expect((await watch(P2, "?resource=network")).status).toBe(200);
    // Nor do those that others make while one watches.
    await harness.call("POST", "/v2.0/ports", { ports: ports.slice(0, 70) }, as("p2", "admin"));
    const network1 = await harness.create("network", {}, P1);
    const vm = await harness.create("port", { network_id: network1.id }, P1);
    await mine.until((e) => of(e, "created", "port", vm.id));
    expect(told(mine)).toEqual([`created port ${vm.id}`]);
    // Whoever grows beyond it is told to begin anew.
    const growing = await watch(as("p4"), "?resource=network");
    expect((await harness.call("POST", "/v2.0/networks", { networks: Array.from({ length: 90 }, () => ({})) }, as("p4", "admin"))).status).toBe(201);
    await growing.until((e) => e.event === "reset");
    await growing.end();
  });

  test("while nothing happens there is a sign of life, and how far the client is", async () => {
    const client = await watch(P1, "?resource=router");
    const { id } = await harness.create("network", {}, P2);
    await harness.settled();
    const at = harness.model.generation;
    await client.until((e) => e.event === "generation" && Number(e.id) >= at);
    expect(JSON.stringify(client.events)).not.toContain(id);
  });
});

test("a slow reader costs what it follows and no more, and is cut in the end", async () => {
  const other = await Harness.make([], undefined, { api: { limits: { watches: { gatherMs: 1, stallMs: 300 } } } });
  try {
    await other.api.listen({ host: "127.0.0.1", port: 0 });
    const at = (other.api.server.address() as AddressInfo).port;
    const mine = await other.create("network", {}, P1);
    const network = await other.create("network", {}, P2);
    // All of them come and go with one change.
    const subnets = Array.from({ length: 60 }, (_, i) => ({ network_id: network.id, ip_version: 4, cidr: `10.0.${i}.0/24`, description: "x".repeat(255) }));
    expect((await other.call("POST", "/v2.0/subnets", { subnets }, as("p2", "admin"))).status).toBe(201);
    const slow = await EventClient.open(at, "/v2.0/axion/watch?resource=subnet", P1, false);
    slow.response.socket.pause();
    const quick = await EventClient.open(at, "/v2.0/axion/watch?resource=network", P1);
    await quick.until((e) => e.event === "ready");
    for (let shared = true; (await connections(other)) > 1; shared = !shared) {
      await other.call("PUT", `/v2.0/networks/${network.id}`, { network: { shared } }, ADMIN);
      await quick.until((e) => e.data.id === network.id && e.data.event === (shared ? "created" : "deleted"));
      quick.events.length = 0;
      await new Promise((done) => setTimeout(done, 10));
    }
    await other.call("PUT", `/v2.0/networks/${mine.id}`, { network: { name: "end" } }, P1);
    await quick.until((e) => e.data.id === mine.id && e.data.network.name === "end");
    quick.close();
    slow.close();
  } finally {
    await other.close();
  }
}, 60_000);
const connections = (h: Harness): Promise<number> => new Promise((resolve) => h.api.server.getConnections((_error, count) => resolve(count)));

describe("a client that comes back and takes nothing", () => {
  /** It missed more than the system keeps of a stream. */
  const back = async (limits: object, then: (other: Harness, at: string) => Promise<void>): Promise<void> => {
    const other = await Harness.make([], undefined, { api: { limits: { longLists: 1, watches: { gatherMs: 1, stallMs: 600_000, ...limits } } } });
    try {
      const at = join(ownFolder("watch"), "api");
      await other.api.listen({ path: at });
      const network = await other.create("network", {}, P1);
      await other.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.8.0.0/16" }, P1);
      const since = other.model.generation;
      const ports = Array.from({ length: 450 }, () => ({ network_id: network.id, description: "x".repeat(255) }));
      expect((await other.call("POST", "/v2.0/ports", { ports }, as("p1", "admin"))).status).toBe(201);
      clients.push(await EventClient.open(at, `/v2.0/axion/watch?resource=port&since=${since}`, P1, false));
      clients[0]!.response.socket.pause();
      await then(other, at);
    } finally {
      for (const client of clients) client.close();
      await other.close();
    }
  };

  test("holds nobody up who reads a long list, or begins to watch", () => back({}, async (other, at) => {
    clients.push(await EventClient.open(at, "/v2.0/axion/watch?resource=network", P2));
    await clients[1]!.until((e) => e.event === "ready");
    expect(await connections(other)).toBe(2);
  }), 60_000);

  test("has so long for all that it missed", () => back({ sinceMs: 100 }, async (other) => {
    while ((await connections(other)) > 0) await new Promise((done) => setTimeout(done, 10));
  }), 60_000);
});

test("rules of access that change end what was begun under others", async () => {
  const policy = join(ownFolder("watch"), "policy.yaml");
  writeFileSync(policy, "{}\n");
  const other = await Harness.make([], undefined, { api: { policyFile: policy, limits: { watches: { gatherMs: 1 } } } });
  try {
    await other.api.listen({ host: "127.0.0.1", port: 0 });
    const client = await EventClient.open((other.api.server.address() as AddressInfo).port, "/v2.0/axion/watch?resource=network", P1);
    await client.until((e) => e.event === "ready");
    writeFileSync(policy, '"get_network": "rule:admin_only"\n');
    other.api.policyFile!.reload();
    await other.create("network", { name: "secret" }, as("p1", "admin"));
    await client.until((e) => e.event === "reset");
    await client.end();
    expect(JSON.stringify(client.events)).not.toContain("secret");
  } finally {
    await other.close();
  }
});

test("a token that counts no more ends its stream", async () => {
  const file = join(ownFolder("watch"), "tokens");
  const tokens = (...entries: string[]): void => writeFileSync(file, JSON.stringify(entries.map((token) => ({ token, project_id: "p1", roles: ["member"] }))));
  tokens("0123456789abcdef", "fedcba9876543210");
  const auth = new TokenFile(file, silent);
  const other = await Harness.make([], undefined, { api: { auth, limits: { watches: { gatherMs: 1, heartbeatMs: 50 } } } });
  try {
    await other.api.listen({ host: "127.0.0.1", port: 0 });
    const at = (other.api.server.address() as AddressInfo).port;
    expect((await EventClient.open(at, "/v2.0/axion/watch", { "x-auth-token": "nobody's nobody's" })).status).toBe(401);
    const [ends, stays] = [await EventClient.open(at, "/v2.0/axion/watch", { "x-auth-token": "0123456789abcdef" }), await EventClient.open(at, "/v2.0/axion/watch", { "x-auth-token": "fedcba9876543210" })];
    await ends.until((e) => e.event === "ready");
    await stays.until((e) => e.event === "ready");
    tokens("fedcba9876543210");
    auth.reload();
    expect((await ends.until((e) => e.event === "reset")).data.reason).toContain("token");
    await ends.end();
    const { id } = await other.create("network", {}, { "x-auth-token": "fedcba9876543210" });
    await stays.until((e) => of(e, "created", "network", id));
    stays.close();
  } finally {
    await other.close();
  }
});

test("a controller that stops ends its streams", async () => {
  const other = await Harness.make();
  await other.api.listen({ host: "127.0.0.1", port: 0 });
  const client = await EventClient.open((other.api.server.address() as AddressInfo).port, "/v2.0/axion/watch", P1);
  await client.until((e) => e.event === "ready");
  await other.close();
  await client.end();
});
