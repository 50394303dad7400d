// Plans through the API: what a project is shown, what a token applies, and what is refused.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { allTables } from "../../src/boot/registry.ts";
import { SeededRandom } from "../../src/lib/random.ts";
import { Planner } from "../../src/plan/planner.ts";
import { lineOf } from "../../src/ops/flows/flow-dump.ts";
import { silent } from "../support/harness.ts";
import { plansOfOperator } from "../../src/northbound/index.ts";
import { compare } from "../support/from-scratch.ts";
import { Harness, type Answer } from "../support/harness.ts";

const as = (project: string, roles = "member"): Record<string, string> => ({ "x-project-id": project, "x-roles": roles });

describe("plans", () => {
  let h: Harness;
  let network: string;
  let port: string;
  beforeEach(async () => {
    h = await Harness.make();
    await h.addChassis("hv0", { key: 1 });
    await h.addChassis("hv1", { key: 2 });
    network = (await h.create("network", { project_id: "p" })).id;
    await h.create("subnet", { project_id: "p", network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
    for (const n of [0, 1]) {
      port = (await h.create("port", { project_id: "p", network_id: network })).id;
      await h.plug(`hv${n}`, port, 10 + n);
    }
    await h.settled();
  });
  afterEach(async () => {
    await h.close();
  });

  const body = (): object => ({ port: { network_id: network } });
  const plan = (method: "POST" | "PUT" | "DELETE", url: string, given?: unknown, headers: Record<string, string> = {}): Promise<Answer> => h.call(method, `${url}?plan=1`, given, headers);
  const apply = (method: "POST" | "PUT" | "DELETE", url: string, given: unknown, token: string, headers: Record<string, string> = {}): Promise<Answer> => h.call(method, url, given, { ...headers, "x-axion-plan": token });

  test("nothing is stored, told or given out; the token applies exactly what was shown, once", async () => {
    const told: unknown[] = [];
    h.engine.onChanges((changes) => told.push(...changes));
    h.engine.onDelta((delta) => told.push(delta));
    h.model.onCommit((commit) => told.push(commit));
    const before = h.model.generation;
    const planned = await plan("POST", "/v2.0/ports", body(), as("p"));
    expect([planned.status, told, h.model.generation, planned.generation]).toEqual([200, [], before, undefined]);
    const { token, answer, objects } = planned.body as { token: string; answer: { status: number; body: { port: { id: string } } }; objects: { op: string; type: string; id: string; before: unknown; after: { mac_address: string } }[] };
    expect(answer.status).toBe(201);
    expect(objects.find(({ type }) => type === "port")).toMatchObject({ op: "create", id: answer.body.port.id, before: null, after: { mac_address: expect.any(String) } });
    expect((await h.call("GET", `/v2.0/ports/${answer.body.port.id}`)).status).toBe(404);
    // Long enough for what rules counted to be noted, which no plan is about.
    await h.clock.run(61_000);
    await h.settled();
    const since = h.model.generation;
    const applied = await apply("POST", "/v2.0/ports", body(), token, as("p"));
    expect([applied.status, applied.body, applied.generation]).toEqual([201, answer.body, since + 1]);
    const again = await apply("POST", "/v2.0/ports", body(), token, as("p"));
    expect([again.status, again.body.NeutronError.type, h.model.generation]).toEqual([409, "PlanNotFound", since + 1]);
  });

  test("what would come to something else now is refused, and changes nothing", async () => {
    const planned = await plan("POST", "/v2.0/ports", body(), as("p"));
    await h.create("port", { project_id: "p", network_id: network }); // takes the address
    const before = h.model.generation;
    const answer = await apply("POST", "/v2.0/ports", body(), planned.body.token as string, as("p"));
    expect([answer.status, answer.body.NeutronError.type, h.model.generation]).toEqual([409, "PlanOutdated", before]);
  });

  test("changes elsewhere do not matter", async () => {
    const planned = await plan("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: false } });
    expect(Object.keys(planned.body.switches as object)).toContain("hv1");
    await h.create("network", { project_id: "other" });
    const answer = await apply("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: false } }, planned.body.token as string);
    expect([answer.status, answer.body.port.admin_state_up]).toEqual([200, false]);
  });

  test("in which order rows are come by is no matter", async () => {
    const ports = [port, ...(await Promise.all([2, 3, 4].map(async () => (await h.create("port", { project_id: "p", network_id: network })).id)))];
    const call = ["/v2.0/subnets", { subnet: { project_id: "p", network_id: network, ip_version: 6, cidr: "fd00::/64", ipv6_address_mode: "slaac", ipv6_ra_mode: "slaac" } }] as const;
    // Where plans are worked out nothing is known of these changes but what they came to.
    for (const name of ["x", ""]) expect((await h.call("PUT", `/v2.0/ports/${ports[0]!}`, { port: { name } })).status).toBe(200);
    const planned = await plan("POST", ...call);
    expect((planned.body.objects as { type: string }[]).filter((o) => o.type === "port").length).toBe(ports.length + 1);
    const answer = await apply("POST", ...call, planned.body.token as string);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  });

  test("another call is not what was planned", async () => {
    const planned = await plan("PUT", `/v2.0/ports/${port}`, { port: { name: "a" } });
    const answer = await apply("PUT", `/v2.0/ports/${port}`, { port: { name: "b" } }, planned.body.token as string);
    expect([answer.status, answer.body.NeutronError.type]).toEqual([409, "PlanOutdated"]);
  });

  test("a project's plan is of no use to another, and looks as if it were not there", async () => {
    const planned = await plan("POST", "/v2.0/networks", { network: {} }, as("p"));
    const stolen = await apply("POST", "/v2.0/networks", { network: {} }, planned.body.token as string, as("q"));
    const guessed = await apply("POST", "/v2.0/networks", { network: {} }, "nothing", as("q"));
    expect([stolen.status, stolen.body]).toEqual([409, guessed.body]);
    expect((await apply("POST", "/v2.0/networks", { network: {} }, planned.body.token as string, as("p"))).status).toBe(201);
  });

  test("a project sees what it may see: no switches, nobody else's resources", async () => {
    const shared = (await h.create("network", { project_id: "p", shared: true })).id;
    await h.create("subnet", { project_id: "p", network_id: shared, ip_version: 4, cidr: "10.1.0.0/24" });
    const planned = await plan("POST", "/v2.0/ports", { port: { network_id: shared } }, as("q"));
    expect(planned.status).toBe(200);
    expect(Object.keys(planned.body as object).sort()).not.toContain("switches");
    expect(JSON.stringify(planned.body)).not.toContain("hv0");
    for (const { after, before } of planned.body.objects as { after: { project_id?: string } | null; before: { project_id?: string } | null }[]) expect(["q"]).toContain((after ?? before)!.project_id);
    const hidden = await plan("PUT", `/v2.0/ports/${port}`, { port: { name: "x" } }, as("q"));
    expect([hidden.status, hidden.body]).toEqual((await h.call("PUT", `/v2.0/ports/${port}`, { port: { name: "x" } }, as("q")).then((a) => [a.status, a.body])));
  });

  test("quotas and checks are those of the call", async () => {
    await h.call("PUT", "/v2.0/quotas/p", { quota: { network: 1 } });
    const [planned, made] = [await plan("POST", "/v2.0/networks", { network: {} }, as("p")), await h.call("POST", "/v2.0/networks", { network: {} }, as("p"))];
    expect([planned.status, planned.body]).toEqual([made.status, made.body]);
    expect(planned.status).toBe(409);
  });

  test.each([
    ["plan=2", "POST", "?plan=2", {}, "plan: '2' is not 1"],
    ["given twice", "POST", "?plan=1&plan=1", {}, "plan is given twice"],
    ["both", "POST", "?plan=1", { "x-axion-plan": "t" }, "plan=1 and X-Axion-Plan are given both"],
    ["with wait", "POST", "?plan=1&wait=dataplane", {}, "plan=1 and wait are given both"],
    ["a read", "GET", "", { "x-axion-plan": "t" }, "X-Axion-Plan is on a GET"],
  ] as const)("refused: %s", async (_, method, query, headers, message) => {
    const before = h.model.generation;
    const answer = await h.call(method, `/v2.0/networks${query}`, method === "GET" ? undefined : { network: {} }, headers);
    expect([answer.status, answer.body.NeutronError.message, h.model.generation]).toEqual([400, expect.stringContaining(message), before]);
  });

  test("tokens end with time, and each project has so many", async () => {
    const planned = await plan("POST", "/v2.0/networks", { network: {} }, as("p"));
    h.clock.advance(601_000);
    expect((await apply("POST", "/v2.0/networks", { network: {} }, planned.body.token as string, as("p"))).status).toBe(409);
    for (let i = 0; i < 70; i++) await plan("POST", "/v2.0/networks", { network: {} }, as("p"));
    expect(h.api.plans!.tokens.size).toBe(64);
  });

  test("plans are applied among other writes, each on what is committed", async () => {
    const networks = await Promise.all(Array.from({ length: 8 }, (_, i) => h.create("network", { project_id: `p${i}` })));
    const plans = await Promise.all(networks.map(({ id }, i) => plan("PUT", `/v2.0/networks/${id}`, { network: { name: `n${i}`, admin_state_up: false } }, as(`p${i}`))));
    const others = Array.from({ length: 40 }, (_, i) => h.call("POST", "/v2.0/security-groups", { security_group: { name: `g${i}` } }, as(`others${i % 8}`)));
    const applied = plans.map(({ body: { token } }, i) => apply("PUT", `/v2.0/networks/${networks[i]!.id}`, { network: { name: `n${i}`, admin_state_up: false } }, token as string, as(`p${i}`)));
    const more = Array.from({ length: 40 }, (_, i) => h.call("POST", "/v2.0/security-groups", { security_group: { name: `h${i}` } }, as(`more${i % 8}`)));
    const answers = await Promise.all(applied);
    expect(answers.map(({ status, body: { network: made } }) => [status, made.admin_state_up])).toEqual(Array(8).fill([200, false]));
    const rest = await Promise.all([...others, ...more]);
    expect(new Set([...rest, ...answers].map(({ generation }) => generation)).size).toBe(88);
    await h.settled();
    compare(h, ["hv0", "hv1"]);
  });

  test("what is too large for a plan is refused as such, in the middle of the rules even, and leaves nothing behind", async () => {
    const planner = (limits: object): Planner => new Planner({ apps: h.apps, tables: allTables(h.apps), layout: h.layout, model: h.model, engine: h.engine, loop: h.loop, claims: h.claims, lineOf, limits });
    for (const limits of [{ runs: 0 }, { runs: 1 }, { runs: 5 }, { rows: 0 }, { flows: 0 }]) {
      const small = planner(limits);
      const first = (h.api.plans as unknown as { options: { foresight: unknown } }).options;
      const before = first.foresight;
      first.foresight = small;
      const planned = await plan("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: false } });
      first.foresight = before;
      expect([limits, planned.status, planned.body.NeutronError.type]).toEqual([limits, 413, "PlanTooLarge"]);
      await expect(small.plan("p", () => 0, () => ({ clock: h.clock, random: new SeededRandom(1) }), { *look() { yield; return 0; } })).resolves.toMatchObject({ result: 0, switches: {}, runs: 0 });
      small.stop();
      compare(h, ["hv0", "hv1"]);
    }
  });

  describe("in slices, on a copy", () => {
    let planner: Planner;
    /** The copy is made quickly; with a slice of 0 every step has a turn. */
    let pace: { slice: number; rest: number };
    const using = (more: object = {}): void => {
      pace = { slice: 20, rest: 0 };
      planner = new Planner({ apps: h.apps, tables: allTables(h.apps), layout: h.layout, model: h.model, engine: h.engine, loop: h.loop, claims: h.claims, lineOf, pace, ...more });
      (h.api.plans as unknown as { options: { foresight: unknown } }).options.foresight = planner;
    };
    afterEach(() => planner.stop());
    const down = { port: { admin_state_up: false } };

    test("others write while a plan is made, and it is of one instant", async () => {
      using();
      await plan("PUT", `/v2.0/ports/${port}`, down);
      const dump = (): string[] => Array.from(h.engine.flowsOf("hv1"), lineOf).sort();
      const before = dump();
      pace.slice = 0;
      let [written, planning] = [0, true];
      const planned = plan("PUT", `/v2.0/ports/${port}`, down).finally(() => (planning = false));
      while (planning && written < 10) {
        expect((await h.call("PUT", `/v2.0/networks/${network}`, { network: { name: `n${written++}` } })).status).toBe(200);
      }
      expect(written).toBeGreaterThan(1);
      const { switches, token } = (await planned).body as { token: string; switches: Record<string, { add: string[]; change: string[]; remove: string[] }> };
      expect(before).toEqual(expect.arrayContaining(switches.hv1!.remove));
      await h.settled();
      expect((await apply("PUT", `/v2.0/ports/${port}`, down, token)).status).toBe(200);
      await h.settled();
      const after = new Set(dump());
      expect(switches.hv1!.remove.filter((line) => after.has(line))).toEqual([]);
      expect(switches.hv1!.add.filter((line) => !after.has(line))).toEqual([]);
      compare(h, ["hv0", "hv1"]);
    });

    test("what takes many runs of rules is applied as well, though others write", async () => {
      using();
      const ports = Array.from({ length: 100 }, () => ({ network_id: network, project_id: "p" }));
      const planned = await plan("POST", "/v2.0/ports", { ports });
      const held = (h.api.plans!.tokens as unknown as { get(token: string, caller: { admin: true }): { runs: number } }).get(planned.body.token as string, { admin: true });
      expect(held.runs).toBeGreaterThan(200);
      expect(planned.status).toBe(200);
      const other = h.create("network", { project_id: "other" });
      const answer = await apply("POST", "/v2.0/ports", { ports }, planned.body.token as string);
      expect([answer.status, answer.body]).toEqual([201, planned.body.answer.body]);
      await other;
    });

    test("so many at once, of all and of a project; the others are told to come again", async () => {
      using();
      pace.slice = 0;
      const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => plan("POST", "/v2.0/networks", { network: {} }, as(`p${i % 6}`))));
      const count = (status: number): number => answers.filter((a) => a.status === status).length;
      expect(count(200)).toBeGreaterThanOrEqual(16);
      expect(count(200) + count(503)).toBe(30);
      expect(count(503)).toBeGreaterThan(0);
      const mine = await Promise.all(Array.from({ length: 12 }, () => plan("POST", "/v2.0/networks", { network: {} }, as("p"))));
      const refused = mine.filter((a) => a.status === 503).map((a) => a.body.NeutronError.message as string);
      expect(refused.length).toBeGreaterThan(0);
      for (const message of refused) expect(message).toContain("4 plans of the project are being made already");
    });

    test("a copy that does not keep up is given up, with an error that says so, and the next is made anew", async () => {
      using({ limits: { backlog: { much: 1, most: 3 } } });
      await plan("POST", "/v2.0/networks", { network: {} });
      // It rests longer than the write takes, after its first step.
      Object.assign(pace, { slice: 0, rest: 500 });
      const planned = plan("PUT", `/v2.0/ports/${port}`, down);
      const written = await h.call("POST", "/v2.0/networks", { networks: Array.from({ length: 8 }, () => ({ name: "n" })) });
      Object.assign(pace, { slice: 20, rest: 0 });
      expect(written.status).toBe(201);
      const answer = await planned;
      expect([answer.status, answer.body.NeutronError.message]).toEqual([503, expect.stringContaining("does not keep up")]);
      expect((await plan("PUT", `/v2.0/ports/${port}`, down)).status).toBe(200);
    });

    test("nobody plans: the copy follows, and ends after a while", async () => {
      using({ limits: { backlog: { much: 1, most: 100_000 } } });
      await plan("POST", "/v2.0/networks", { network: {} });
      for (let i = 0; i < 5; i++) await h.create("network", { project_id: "p" });
      expect((await plan("PUT", `/v2.0/ports/${port}`, down)).status).toBe(200);
      expect(planner.copied).toBe(true);
      planner.stop();
      using({ limits: { idle: 0 } });
      await plan("POST", "/v2.0/networks", { network: {} });
      await vi.waitFor(() => expect(planner.copied).toBe(false));
    });
  });

  test("an operator's plan has the switches, on behalf of whomever; what is wrong is named", async () => {
    const planOf = plansOfOperator({ plans: h.api.plans!, faces: h.api.faces, model: h.model, log: silent });
    const call = { method: "PUT", path: `/v2.0/ports/${port}`, body: JSON.stringify({ port: { admin_state_up: false } }), project: "p", roles: undefined };
    const answer = await planOf(call);
    const planned = JSON.parse((answer as { plan: string }).plan) as { token: string; switches: Record<string, object> };
    expect(Object.keys(planned.switches)).toContain("hv1");
    expect((await apply("PUT", call.path, JSON.parse(call.body), planned.token, as("p"))).status).toBe(200);
    expect(await planOf({ ...call, method: "GET" })).toMatchObject({ status: 400, message: expect.stringContaining("method: 'GET'") });
    expect(await planOf({ ...call, path: "/v9/ports" })).toMatchObject({ status: 400, message: expect.stringContaining("path: '/v9/ports'") });
    expect(await planOf({ ...call, project: "q" })).toMatchObject({ status: 404, type: "PortNotFound" });
    expect(await planOf({ ...call, path: `${call.path}?wait=dataplane` })).toMatchObject({ status: 400 });
  });

  test("Quantum v1 has plans as well", async () => {
    const planned = await h.call("POST", "/v1.1/tenants/p/networks?plan=1", { network: { name: "old" } }, as("p"));
    expect(planned.status).toBe(200);
    const made = await h.call("POST", "/v1.1/tenants/p/networks", { network: { name: "old" } }, { ...as("p"), "x-axion-plan": planned.body.token as string });
    expect([made.status, made.body]).toEqual([planned.body.answer.status, planned.body.answer.body]);
  });
});
