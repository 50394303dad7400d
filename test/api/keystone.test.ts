// Callers that a real Keystone knows: who they are, what is kept of that, and what holds when it is revoked or Keystone is away.
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FetchAnswer, FetchOptions } from "#app";
import { exec, until } from "../../lab/exec.ts";
import { machineClock } from "../../src/lib/clock.ts";
import { KeystoneAuth } from "../../src/northbound/index.ts";
import { garden, labels } from "../../src/northbound/testing/declarations.ts";
import { Api } from "../../src/northbound/testing/support.ts";
import { machineHttp, Outbound } from "../../src/services/index.ts";
import { Keystone, keystoneMissing, type User } from "../support/api/keystone.ts";
import { ControllerProcess } from "../support/process.ts";

const missing = await keystoneMissing();
const SERVER = "0d6a5b3e-7f0c-4f7e-9c39-2f4b8f0d1c11";

describe.skipIf(missing.length > 0)("tokens of Keystone", () => {
  let keystone: Keystone;
  let auth: KeystoneAuth;
  let api: Api;
  /** Requests that went to Keystone. */
  let asked: string[] = [];
  /** The token that the last of them came with. */
  let ours = "";
  const outbound = new Outbound(machineClock, machineHttp);
  const options = (more: object = {}): ConstructorParameters<typeof KeystoneAuth>[0] => ({
    url: keystone.url, user: "neutron", passwordFile: keystone.passwordFile, project: "service", domain: "Default", clock: machineClock, log: pino({ level: "silent" }), revocationMs: 200,
    fetch(url: string, its?: FetchOptions): Promise<FetchAnswer> {
      asked.push(`${its?.method ?? "GET"} ${url.slice(keystone.url.length).replace(/\?.*/, "")}`);
      ours = its?.headers?.["x-auth-token"] ?? ours;
      return outbound.fetch(url, its);
    },
    ...more,
  });
  beforeAll(async () => {
    keystone = await Keystone.start();
    auth = new KeystoneAuth(options());
    api = await Api.make([garden, labels], {}, undefined, undefined, { auth });
  }, 180_000);
  afterAll(async () => {
    await api?.close();
    outbound.stop();
    await keystone?.stop();
  });
  const token = (user: User): Promise<string> => keystone.token(user);
  const create = async (headers: Record<string, string>): Promise<[number, string | undefined]> => {
    const { status, body } = await api.post("/v2.0/garden-beds", { bed: {} }, headers);
    return [status, body.bed?.project_id as string | undefined];
  };
  const list = async (headers: Record<string, string>): Promise<number> => (await api.get("/v2.0/garden-beds", headers)).status;
  const project = (name: string): string => keystone.ids.get(`project ${name}`)!;

  test("a caller is who Keystone says, whatever else the request says of itself", async () => {
    expect(await create({ "x-auth-token": await token("demo"), "x-project-id": project("other"), "x-roles": "admin" })).toEqual([201, project("demo")]);
    expect(await create({ "x-auth-token": await token("other") })).toEqual([201, project("other")]);
    expect(await create({ "x-auth-token": await token("admin") })).toEqual([201, project("admin")]);
    expect(await create({ "x-auth-token": await token("reader") })).toEqual([403, undefined]);
    expect(await list({ "x-auth-token": await token("reader") })).toBe(200);
    // Of no project, with no role.
    expect(await create({ "x-auth-token": await keystone.token("nobody", { scoped: false }) })).toEqual([403, undefined]);
  });

  test("nobody: 401, and where to become somebody", async () => {
    for (const headers of [{}, { "x-auth-token": "" }, { "x-auth-token": "gAAAAnothing" }, { "x-auth-token": "x".repeat(5000) }, { "x-project-id": "p", "x-roles": "admin" }]) {
      const answer = await api.nb.inject({ method: "GET", url: "/v2.0/garden-beds", headers });
      expect([answer.statusCode, answer.headers["www-authenticate"]]).toEqual([401, `Keystone uri="${keystone.url}"`]);
      expect(answer.headers["x-openstack-request-id"]).toMatch(/^req-/);
    }
    // Versions are for everybody.
    expect((await api.get("/")).status).toBe(200);
  });

  test("one request is under way for a token however many ask with it, and none when it is known", async () => {
    const mine = await token("demo");
    asked = [];
    expect(await Promise.all(Array.from({ length: 50 }, () => list({ "x-auth-token": mine })))).toEqual(Array(50).fill(200));
    expect(await list({ "x-auth-token": mine })).toBe(200);
    expect(asked.filter((request) => request === "GET /auth/tokens")).toHaveLength(1);
    // Neither is asked again soon for what is no token.
    asked = [];
    for (let n = 0; n < 5; n++) expect(await list({ "x-auth-token": "gAAAAnonsense" })).toBe(401);
    expect(asked.filter((request) => request === "GET /auth/tokens").length).toBe(1);
  });

  test("a token that is revoked counts no more, soon after; others go on", async () => {
    const [mine, another, theirs] = [await token("demo"), await token("demo"), await token("other")];
    for (const one of [mine, another, theirs]) expect(await list({ "x-auth-token": one })).toBe(200);
    await keystone.revoke(mine);
    await until("the revocation is seen", async () => (await list({ "x-auth-token": mine })) === 401, { timeoutMs: 5000, intervalMs: 50 });
    asked = [];
    expect([await list({ "x-auth-token": another }), await list({ "x-auth-token": theirs })]).toEqual([200, 200]);
    expect(asked.filter((request) => request === "GET /auth/tokens")).toEqual([]);
    // Whoever may do nothing any more has none of his tokens.
    await keystone.call("PATCH", `/users/${keystone.ids.get("user other")!}`, { user: { enabled: false } });
    await until("the user is locked out", async () => (await list({ "x-auth-token": theirs })) === 401, { timeoutMs: 5000, intervalMs: 50 });
    await keystone.call("PATCH", `/users/${keystone.ids.get("user other")!}`, { user: { enabled: true } });
  });

  test("a service goes on with a user's work by its own token; a user's is no service's", async () => {
    const [mine, service, reader] = [await token("demo"), await token("neutron"), await token("reader")];
    expect(await create({ "x-auth-token": mine, "x-service-token": service })).toEqual([201, project("demo")]);
    expect(await create({ "x-auth-token": mine, "x-service-token": reader })).toEqual([201, project("demo")]);
    expect((await create({ "x-auth-token": "gAAAAno", "x-service-token": service }))[0]).toBe(401);
  });

  test("our own token is had again when it counts no more", async () => {
    asked = [];
    await keystone.revoke(ours);
    expect(await list({ "x-auth-token": await token("demo") })).toBe(200);
    expect(asked.filter((request) => request === "POST /auth/tokens")).toHaveLength(1);
  });

  test("the domain by its id; a wrong password is 503 and a problem, not 401", async () => {
    const mine = await token("demo");
    const asks = async (its: KeystoneAuth): Promise<string> => (await its.authenticate({ requestId: "r", header: (name) => (name === "x-auth-token" ? mine : undefined) })).projectId;
    const byId = new KeystoneAuth(options({ domain: "default", url: keystone.url.replace(/v3$/, "") }));
    expect(await asks(byId)).toBe(project("demo"));
    byId.close();
    const passwordFile = `${keystone.passwordFile}.wrong`;
    writeFileSync(passwordFile, "wrong");
    const wrong = new KeystoneAuth(options({ passwordFile }));
    await expect(asks(wrong)).rejects.toMatchObject({ status: 503 });
    expect(wrong.problem?.text).toContain("does not let user neutron in");
    // It is read again when it is needed.
    rmSync(passwordFile);
    await expect(asks(wrong)).rejects.toMatchObject({ status: 503 });
    expect(wrong.problem?.text).toContain("no such file");
    writeFileSync(passwordFile, "secret\n");
    expect(await asks(wrong)).toBe(project("demo"));
    expect(wrong.problem).toBeUndefined();
    wrong.close();
  });

  test("Debian's client, by the catalogue: what each may do", async () => {
    const controller = await ControllerProcess.start({ flags: ["--auth", "keystone", "--keystone-url", keystone.url, "--keystone-user", "neutron", "--keystone-password-file", keystone.passwordFile] });
    try {
      await keystone.network(`http://127.0.0.1:${controller.apiPort}`);
      const openstack = (user: User, ...args: string[]): ReturnType<typeof exec> => exec(["openstack", ...args], { env: keystone.environment(user), allowFailure: true, timeoutMs: 60_000 });
      const [made, refused] = [await openstack("demo", "network", "create", "theirs", "-f", "value", "-c", "project_id"), await openstack("reader", "network", "create", "none")];
      expect([made.stdout.trim(), made.exitCode]).toEqual([project("demo"), 0]);
      expect(refused.exitCode).not.toBe(0);
      expect(refused.stderr).toContain("rule:create_network is disallowed by policy");
      const seen = await Promise.all((["demo", "reader", "other", "admin"] as const).map(async (user) => {
        const answer = await fetch(`http://127.0.0.1:${controller.apiPort}/v2.0/networks`, { headers: { "x-auth-token": await token(user) } });
        return ((await answer.json()) as { networks: { name: string }[] }).networks.map((network) => network.name);
      }));
      expect(seen).toEqual([["theirs"], ["theirs"], [], ["theirs"]]);
    } finally {
      await controller.destroy();
    }
  }, 120_000);

  test("Nova is told in the controller's own name, which Keystone knows", async () => {
    const told: { readonly token: string | undefined; readonly events: readonly unknown[] }[] = [];
    const nova = createServer((request, response) => {
      void text(request).then((body) => {
        response.writeHead(200, { "content-type": "application/json" }).end(body);
        told.push({ token: request.headers["x-auth-token"] as string | undefined, events: (JSON.parse(body) as { events: unknown[] }).events });
      });
    });
    nova.listen(0, "127.0.0.1");
    await once(nova, "listening");
    const controller = await ControllerProcess.start({
      flags: ["--auth", "keystone", "--keystone-url", keystone.url, "--keystone-user", "neutron", "--keystone-password-file", keystone.passwordFile, "--nova-url", `http://127.0.0.1:${(nova.address() as AddressInfo).port}`],
    });
    try {
      const headers = { "x-auth-token": await token("admin"), "content-type": "application/json" };
      const call = async (method: string, path: string, body?: object): Promise<any> => {
        const answer = await fetch(`http://127.0.0.1:${controller.apiPort}/v2.0/${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
        return answer.status === 204 ? undefined : answer.json();
      };
      const { network } = await call("POST", "networks", { network: {} });
      const { port } = await call("POST", "ports", { port: { network_id: network.id, device_owner: "compute:nova", device_id: SERVER } });
      await call("DELETE", `ports/${port.id}`);
      await until("Nova is told", () => Promise.resolve(told.length > 0));
      const [{ token: came, events }] = told as [(typeof told)[0]];
      expect(events).toEqual([{ name: "network-vif-deleted", server_uuid: SERVER, tag: port.id, status: "completed" }]);
      const who = await fetch(`${keystone.url}/auth/tokens?nocatalog`, { headers: { "x-auth-token": came ?? "", "x-subject-token": came ?? "" } });
      expect(((await who.json()) as { token: { user: { name: string } } }).token.user.name).toBe("neutron");
    } finally {
      await controller.destroy();
      nova.close();
    }
  }, 60_000);

  test("Keystone away: what is known goes on, all else is 503 until it is back", { tags: "long", timeout: 60_000 }, async () => {
    const [known, unknown] = [await token("demo"), await token("demo")];
    expect(await list({ "x-auth-token": known })).toBe(200);
    await keystone.halt();
    try {
      expect(await list({ "x-auth-token": known })).toBe(200);
      const answer = await api.get("/v2.0/garden-beds", { "x-auth-token": unknown });
      expect([answer.status, answer.body.NeutronError.type]).toEqual([503, "ServiceUnavailable"]);
      expect(auth.problem).toMatchObject({ kind: "keystone", severity: "critical" });
      expect(await list({})).toBe(401);
    } finally {
      await keystone.resume();
    }
    expect(await list({ "x-auth-token": unknown })).toBe(200);
    expect(auth.problem).toBeUndefined();
  });
});
