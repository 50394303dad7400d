// Probe: a way into the API with its own prefix, envelope and content type, over the operations that v2.0 uses as well.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "../../../lab/lab.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectNoLookup, expectQuietRestart, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("plain");
afterAll(() => probes.delete());

describe.skipIf(!nightly || Lab.missing().length > 0)("a face of text on a running controller", () => {
  let scene: Scene;
  let clean: Held[];

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  interface Answered {
    readonly status: number;
    readonly type: string | undefined;
    readonly text: string;
    readonly generation: number;
  }
  async function ask(method: string, path: string, body?: string, project = "p1", roles = "member", more: Readonly<Record<string, string>> = {}): Promise<Answered> {
    const { status, headers, body: text } = await scene.cloud.controller.api<string | undefined>(method, `/plain${path}`, body, { "content-type": "text/plain", "x-project-id": project, "x-roles": roles, ...more });
    return { status, type: headers["content-type"], text: text ?? "", generation: Number(headers["x-axion-generation"] ?? 0) };
  }
  const idIn = ({ text }: Answered): string => /^id: (.+)$/m.exec(text)![1]!;
  const v2 = async (id: string): Promise<any> => (await scene.cloud.call("GET", `/v2.0/networks/${id}`)).body.network;
  const TEXT = "text/plain; charset=utf-8";

  test("makes, shows, changes and removes as text what v2.0 has as JSON", async () => {
    const made = await ask("POST", "/networks", "name: two\\nlines \\\\ é\n");
    const id = idIn(made);
    expect([made.status, made.type, made.text]).toEqual([201, TEXT, `id: ${id}\nname: two\\nlines \\\\ é\nproject_id: p1\nadmin_state_up: true\n`]);
    expect(made.generation).toBeGreaterThan(0);
    expect(await v2(id)).toMatchObject({ name: "two\nlines \\ é", project_id: "p1" });
    const changed = await ask("PUT", `/networks/${id}`, "admin_state_up: false\n");
    expect([changed.status, changed.text]).toEqual([200, made.text.replace("true", "false")]);
    expect(changed.generation).toBeGreaterThan(made.generation);
    expect((await v2(id)).admin_state_up).toBe(false);
    expect((await ask("GET", `/networks/${id}`)).text).toBe(changed.text);
    expect((await ask("GET", "/networks?admin_state_up=false")).text).toBe(`${changed.text}\n`);
    const gone = await ask("DELETE", `/networks/${id}`);
    expect([gone.status, gone.text]).toEqual([204, ""]);
    expect(await v2(id)).toBeUndefined();
  });

  test("every refusal is one line, and changes nothing", async () => {
    const { id } = scene.nets[0].network;
    const before = await v2(id);
    const refused = async (status: number, line: RegExp, ...args: Parameters<typeof ask>): Promise<void> => {
      const answer = await ask(...args);
      expect([answer.status, answer.type], answer.text).toEqual([status, TEXT]);
      expect(answer.text).toMatch(line);
      expect(answer.text.split("\n")).toHaveLength(2);
    };
    await refused(400, /^! 400 BadLine line 2 is not "name: value"\n$/, "PUT", `/networks/${id}`, "name: x\nnonsense\n");
    await refused(400, /^! 400 BadLine line 2 says name again\n$/, "PUT", `/networks/${id}`, "name: x\nname: y\n");
    await refused(400, /^! 400 \w+ .*colour/, "PUT", `/networks/${id}`, "colour: red\n");
    await refused(404, /^! 404 NoSuchPath /, "GET", "/ports");
    await refused(404, /^! 404 NoSuchPath /, "GET", "");
    await refused(405, /^! 405 NoSuchMethod DELETE is not for \/networks\n$/, "DELETE", "/networks");
    await refused(404, /^! 404 NetworkNotFound /, "GET", "/networks/none");
    await refused(404, /^! 404 NetworkNotFound /, "PUT", `/networks/${id}`, "name: mine\n", "p2");
    await refused(403, /^! 403 PolicyNotAuthorized /, "PUT", `/networks/${id}`, "name: mine\n", "p1", "reader");
    // By the listener, before the face has a say.
    await refused(400, /^! 400 HTTPBadRequest X-Project-Id /, "GET", "/networks", undefined, "p".repeat(300));
    expect(await v2(id)).toEqual(before);
    expect((await ask("GET", "/networks", undefined, "p2")).text).toBe("");
  });

  test("several are made together, in one generation, or none is; a change may be bound to a revision", async () => {
    const two = await ask("POST", "/networks", "name: one\n\nname: other\nadmin_state_up: false\n");
    const ids = [...two.text.matchAll(/^id: (.+)$/gm)].map((m) => m[1]!);
    expect([two.status, ids.length]).toEqual([201, 2]);
    expect(await Promise.all(ids.map(v2))).toMatchObject([{ name: "one" }, { name: "other", admin_state_up: false }]);
    const all = async (): Promise<string> => (await ask("GET", "/networks?sort_key=id&sort_dir=asc")).text;
    const before = await all();
    expect((await ask("POST", "/networks", "name: third\n\nname: fourth\nadmin_state_up: perhaps\n")).text).toMatch(/^! 400 \w+ .*perhaps/);
    expect(await all()).toBe(before);
    const change = async (revision: number): Promise<Answered> => ask("PUT", `/networks/${ids[0]!}`, "name: later\n", "p1", "member", { "if-match": `revision_number=${revision}` });
    expect((await change(2)).text).toMatch(/^! 412 RevisionNumberConstraintFailed /);
    expect((await change(1)).status).toBe(200);
    expect((await change(1)).status).toBe(412);
    for (const id of ids) expect((await ask("DELETE", `/networks/${id}`)).status).toBe(204);
  });

  test("it costs no lookup, a restart sends nothing, what was acknowledged is whole after a crash, and taken out nothing of it is left", async () => {
    const { cloud } = scene;
    const versions = async (): Promise<string> => JSON.stringify((await cloud.call("GET", "/")).body);
    expect(await held(cloud), "it has nothing on switches").toEqual(clean);
    expect(await versions()).toContain('"plain"');
    await expectNoLookup(scene);
    await expectQuietRestart(cloud);
    const made = await ask("POST", "/networks", "name: kept\n");
    await cloud.controller.kill9();
    await cloud.controller.start();
    await cloud.synced();
    expect((await ask("GET", `/networks/${idIn(made)}`)).text).toBe(made.text);
    expect((await ask("DELETE", `/networks/${idIn(made)}`)).status).toBe(204);
    await cloud.controller.kill9();
    await cloud.controller.start();
    await cloud.synced();
    expect((await ask("GET", `/networks/${idIn(made)}`)).status).toBe(404);
    await expectGone(probes, scene, clean);
    expect((await cloud.call("GET", "/plain/networks")).status).toBe(404);
    expect(await versions()).not.toContain('"plain"');
  }, 120_000);
});
