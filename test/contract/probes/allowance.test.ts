// Probe: a resource keyed by project with actions on its collection, and a computed one that can only be read; over HTTP, against a
// controller with real switches, for the computed rows are of what is attached there.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "../../../lab/lab.ts";
import type { Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectNoLookup, expectQuietRestart, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("allowance");
afterAll(() => probes.delete());

describe.skipIf(!nightly || Lab.missing().length > 0)("allowances on a running controller", () => {
  let scene: Scene;
  let clean: Held[];

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  interface Told {
    readonly status: number;
    readonly body: any;
  }
  const ask = (method: string, path: string, body?: unknown, roles = "admin", project = "p1"): Promise<Told> =>
    scene.cloud.controller.api(method, `/v2.0/${path}`, body, { "x-project-id": project, "x-roles": roles });
  const set = (project: string, ports: unknown): Promise<Told> => ask("PUT", `allowances/${project}`, { allowance: { ports } });
  const of = async (project: string): Promise<unknown> => (await ask("GET", `allowances/${project}`)).body.allowance;
  const refused = async (told: Promise<Told>): Promise<unknown[]> => {
    const { status, body } = await told;
    return [status, body.NeutronError.type];
  };

  test("a project has the initial one, then what is stored, then the initial one again", async () => {
    expect(await of("p7")).toEqual({ project_id: "p7", ports: 50 });
    expect((await ask("GET", "allowances")).body.allowances).toEqual([]);
    const put = await set("p7", 3);
    expect([put.status, put.body.allowance]).toEqual([200, { project_id: "p7", ports: 3 }]);
    expect(await of("p7")).toEqual({ project_id: "p7", ports: 3 });
    expect((await ask("GET", "allowances?ports=3")).body.allowances).toEqual([{ project_id: "p7", ports: 3 }]);
    expect((await ask("DELETE", "allowances/p7")).status).toBe(204);
    expect(await of("p7")).toEqual({ project_id: "p7", ports: 50 });
    expect((await ask("DELETE", "allowances/p7")).status, "what is not stored cannot go").toBe(404);
    expect((await ask("POST", "allowances", { allowance: { ports: 1 } })).status, "a key is not made").toBeGreaterThanOrEqual(404);
  });

  test("it holds for ports, in the transaction that makes them", async () => {
    await set("p8", 1);
    const network = (await scene.cloud.create("network", {}, "p8")).id;
    const port = await scene.cloud.create("port", { network_id: network }, "p8");
    const again = (): Promise<Told> => ask("POST", "ports", { port: { network_id: network } }, "admin", "p8");
    expect(await refused(again())).toEqual([409, "OverQuota"]);
    expect((await ask("GET", "ports?project_id=p8")).body.ports).toHaveLength(1);
    await set("p8", -1);
    const second = await again();
    expect(second.status).toBe(201);
    for (const { id } of [port, second.body.port as Resource]) await scene.cloud.remove("port", id);
    await scene.cloud.remove("network", network);
    await ask("DELETE", "allowances/p8");
  });

  test("bad input is named and changes nothing", async () => {
    for (const bad of [-2, 100_001]) {
      const told = await set("p7", bad);
      expect(told.status, String(bad)).toBe(400);
      expect(told.body.NeutronError.message).toContain("ports");
    }
    // In Neutron's words, which name the value.
    for (const bad of ["many", null]) {
      const told = await set("p7", bad);
      expect([told.status, told.body.NeutronError.message]).toEqual([400, `Invalid input for operation: '${bad ?? "None"}' is not an integer.`]);
    }
    expect((await ask("PUT", "allowances/p7", { allowance: { project_id: "p9" } })).status).toBe(400);
    expect(await of("p7")).toEqual({ project_id: "p7", ports: 50 });
  });

  test("actions on the collection read and change it as a whole", async () => {
    await set("p5", 5);
    await set("p6", 7);
    await set("p7", -1);
    expect((await ask("GET", "allowances/summary")).body).toEqual({ summary: { allowances: 3, ports: 12, unlimited: 1 } });
    expect((await ask("POST", "allowances/reset", { sure: false })).status).toBe(400);
    expect((await ask("POST", "allowances/reset", {})).status).toBe(400);
    expect((await ask("GET", "allowances/summary")).body.summary.allowances).toBe(3);
    const reset = await ask("POST", "allowances/reset", { sure: true });
    expect([reset.status, reset.body]).toEqual([200, { reset: 3 }]);
    expect((await ask("GET", "allowances")).body.allowances).toEqual([]);
  });

  test("a project reads its own; to change is for administrators, as are both actions and the hosts", async () => {
    await set("p5", 5);
    expect((await ask("GET", "allowances/p5", undefined, "reader", "p5")).body.allowance).toEqual({ project_id: "p5", ports: 5 });
    expect((await ask("GET", "allowances/p5", undefined, "reader", "p6")).status).toBe(404);
    expect((await ask("GET", "allowances", undefined, "reader", "p6")).body.allowances).toEqual([]);
    expect(await refused(ask("PUT", "allowances/p5", { allowance: { ports: 9 } }, "member", "p5"))).toEqual([403, "PolicyNotAuthorized"]);
    expect(await refused(ask("DELETE", "allowances/p5", undefined, "member", "p5"))).toEqual([403, "PolicyNotAuthorized"]);
    expect(await refused(ask("POST", "allowances/reset", { sure: true }, "member", "p5"))).toEqual([403, "PolicyNotAuthorized"]);
    expect(await refused(ask("GET", "allowances/summary", undefined, "member", "p5"))).toEqual([403, "PolicyNotAuthorized"]);
    expect((await ask("GET", "host-loads", undefined, "member", "p5")).body.host_loads).toEqual([]);
    expect(await of("p5")).toEqual({ project_id: "p5", ports: 5 });
    await ask("DELETE", "allowances/p5");
  });

  test("the computed rows are what is attached now, and can only be read", async () => {
    const loads = async (query = ""): Promise<{ id: string; ports: number }[]> => (await ask("GET", `host-loads${query}`)).body.host_loads;
    const most = await loads("?sort_key=ports&sort_dir=desc");
    expect(most.map(({ ports }) => ports)).toEqual([2, 1]);
    expect(await loads("?ports=1")).toEqual([most[1]]);
    expect((await ask("GET", `host-loads/${most[0]!.id}`)).body.host_load).toEqual(most[0]);
    expect(await refused(ask("GET", "host-loads/nowhere"))).toEqual([404, "HostLoadNotFound"]);
    for (const [method, path] of [["POST", "host-loads"], ["PUT", `host-loads/${most[0]!.id}`], ["DELETE", `host-loads/${most[0]!.id}`]] as const) {
      expect((await ask(method, path, { host_load: { ports: 9 } })).status, method).toBeGreaterThanOrEqual(404);
    }
    expect(await loads("?sort_key=ports&sort_dir=desc")).toEqual(most);
  });

  test("it costs no lookup, a restart sends nothing, what was acknowledged is whole after a crash, and taken out nothing of it is left", async () => {
    const { cloud } = scene;
    await set("p5", 5);
    await set("p6", 6);
    await cloud.synced();
    expect(await held(cloud), "it has nothing on switches").toEqual(clean);
    await expectNoLookup(scene);
    await expectQuietRestart(cloud);
    for (const reset of [false, true]) {
      // The crash is right behind the answer.
      expect((await (reset ? ask("POST", "allowances/reset", { sure: true }) : set("p5", 15))).status).toBe(200);
      await cloud.controller.kill9();
      await cloud.controller.start();
      await cloud.synced();
      const rows = (await ask("GET", "allowances?sort_key=ports&sort_dir=desc")).body.allowances;
      expect(rows).toEqual(reset ? [] : [{ project_id: "p5", ports: 15 }, { project_id: "p6", ports: 6 }]);
    }
    await set("p5", 5);
    await expectGone(probes, scene, clean);
    for (const path of ["allowances", "allowances/p5", "allowances/summary", "host-loads"]) expect((await ask("GET", path)).status, path).toBe(404);
    expect((await ask("GET", "extensions")).body.extensions.map((e: { alias: string }) => e.alias)).not.toContain("allowance");
  }, 120_000);
});
