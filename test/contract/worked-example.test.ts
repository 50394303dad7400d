// The worked example of docs/apps.md: its files are taken from the page, compiled as they stand there, and run as an app.
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { repositoryRoot } from "../../lab/controller.ts";
import { appsFolder, Harness } from "../support/harness.ts";

const root = repositoryRoot();
const page = readFileSync(path.join(root, "docs/apps.md"), "utf8");
/** In the repository, so that "#app" and the packages resolve; outside of apps/, where other tests would find it. */
const scratch = path.join(root, ".lab", `example-${process.pid}`);

/** `apps/...` -> text: each block of code belongs to the last file named at the beginning of a line before it. */
function filesOf(markdown: string): Map<string, string> {
  const out = new Map<string, string>();
  let file: string | undefined;
  for (const [, named, code] of markdown.matchAll(/^`(apps\/[^`]+\.ts)`|^```ts\n(.*?)^```$/gms)) {
    if (named !== undefined) file = named;
    else if (file === undefined || out.has(file)) throw new Error(`docs/apps.md: a block of code without a file: ${code!.slice(0, 60)}`);
    else out.set(file, code!);
  }
  return out;
}
const files = filesOf(page);
const TEST = "apps/blocking/blocking.test.ts";

mkdirSync(path.join(scratch, "apps"), { recursive: true });
for (const app of readdirSync(appsFolder)) if (!app.startsWith("_")) symlinkSync(path.join(appsFolder, app), path.join(scratch, "apps", app));
for (const [file, text] of files) {
  mkdirSync(path.dirname(path.join(scratch, file)), { recursive: true });
  // The page's own test stands two folders deeper here, and wants these apps.
  const here = text.replace("../../test/support/", "../../../../test/support/").replace("Harness.make()", `Harness.make([], ${JSON.stringify(path.join(scratch, "apps"))})`);
  writeFileSync(path.join(scratch, file), file === TEST ? here : text);
}
describe("the test on the page", async () => {
  await import(path.join(scratch, TEST));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("compiles as it stands on the page", { timeout: 120_000 }, async () => {
  expect([...files.keys()]).toEqual(["model", "tables", "rules", "api", "index", "blocking.test"].map((name) => `apps/blocking/${name}.ts`));
  const options = { noEmit: true, composite: false, incremental: false, rootDir: "../.." };
  writeFileSync(path.join(scratch, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions: options, include: ["apps/blocking/*.ts"], exclude: [TEST] }));
  const tsc = path.join(root, "node_modules/typescript-native/bin/tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", scratch, "--pretty", "false"]).catch((e: unknown) => e as { stdout: string });
  expect(stdout).toBe("");
});

test("works: a blocked address is a flow where its network is, until it or the network goes", async () => {
  const harness = await Harness.make([], path.join(scratch, "apps"));
  try {
    await harness.addChassis("hv1");
    await harness.addChassis("hv2");
    const headers = { "x-project-id": "p1" };
    const network = (await harness.create("network", { name: "net" }, headers)).id;
    const port = (await harness.create("port", { network_id: network }, headers)).id;
    await harness.plug("hv1", port, 11);
    const made = async (values: object) => harness.call("POST", "/v2.0/blocked_addresses", { blocked_address: values }, headers);
    const flows = async (chassis: string): Promise<number> => {
      await harness.settled();
      return [...harness.engine.flowsOf(chassis)].filter((flow) => harness.engine.provenance(flow).rule === "blocked-address").length;
    };
    const first = await made({ network_id: network, ip_address: "192.0.2.1" });
    expect(first, JSON.stringify(first.body)).toMatchObject({ status: 201 });
    expect((await made({ network_id: network, ip_address: "2001:db8::1" })).status).toBe(201);
    expect((await made({ network_id: network, ip_address: "nowhere" })).status).toBe(400);
    expect([await flows("hv1"), await flows("hv2")]).toEqual([2, 0]);
    expect((await harness.call("DELETE", `/v2.0/blocked_addresses/${(first.body as { blocked_address: { id: string } }).blocked_address.id}`, undefined, headers)).status).toBe(204);
    expect(await flows("hv1")).toBe(1);
    await harness.unplug("hv1", port);
    expect((await harness.call("DELETE", `/v2.0/ports/${port}`, undefined, headers)).status).toBe(204);
    expect((await harness.call("DELETE", `/v2.0/networks/${network}`, undefined, headers)).status).toBe(204);
    expect((await harness.call("GET", "/v2.0/blocked_addresses")).body).toEqual({ blocked_addresses: [] });
    expect(harness.complaints).toEqual([]);
  } finally {
    await harness.close();
  }
});
