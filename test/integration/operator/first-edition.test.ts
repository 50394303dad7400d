// A data directory that the first edition wrote (test/fixtures/first-edition) is taken over: every resource is there, over switches
// too, and what was there before is kept byte for byte.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startController, type Controller } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { keepFirstEdition } from "../../../src/store/first-edition.ts";
import { switchStates } from "../../support/cloud.ts";
import { ControllerProcess, metricOf } from "../../support/process.ts";

const fixture = fileURLToPath(new URL("../../fixtures/first-edition", import.meta.url));
type Shown = Readonly<Record<string, unknown>> & { readonly id: string };
const shown = JSON.parse(readFileSync(`${fixture}/shown.json`, "utf8")) as Readonly<Record<string, readonly Shown[]>>;

function unpack(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  execFileSync("tar", ["-xzf", `${fixture}/data.tar.gz`, "-C", dir]);
}

/** Every file under a directory with its checksum. */
function contents(dir: string): Record<string, string> {
  const files = readdirSync(dir, { withFileTypes: true, recursive: true }).filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
  return Object.fromEntries(files.sort().map((file) => [file.slice(dir.length + 1), createHash("sha256").update(readFileSync(file)).digest("hex")]));
}

/** What today's API shows of a resource of the first edition: the same, but for what was changed on purpose. */
const today = (collection: string, resource: Shown): Shown => {
  if (collection === "security_groups") return { ...resource, stateful: true };
  // Ports of the network's own are up when what they stand for is.
  if (String(resource.device_owner).startsWith("network:router_")) return { ...resource, status: "ACTIVE", revision_number: expect.any(Number) as unknown, updated_at: expect.any(String) as unknown };
  return resource;
};

describe("a controller on a directory of the first edition", () => {
  let controller: ControllerProcess;
  let data: string;
  let original: Record<string, string>;

  beforeAll(async () => {
    controller = await ControllerProcess.start({ flags: ["--log-level", "info"] });
    data = `${controller.dir}/data`;
    await controller.stop();
    unpack(data);
    original = contents(data);
    await controller.start();
  });
  afterAll(async () => controller?.destroy());

  const said = (message: RegExp): string[] => controller.lines.filter((line) => message.test(line));

  test.each(Object.keys(shown))("shows the same %s", async (collection) => {
    const listed = async (): Promise<readonly Shown[]> => {
      const answer = await controller.api("GET", `/v2.0/${collection.replaceAll("_", "-")}`, undefined, { "x-project-id": "p1", "x-roles": "admin" });
      return (answer.body as Record<string, Shown[]>)[collection]!.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    };
    await expect.poll(listed, { timeout: 10_000 }).toMatchObject(shown[collection]!.map((before) => today(collection, before)).toSorted((a, b) => (a.id < b.id ? -1 : 1)));
  });

  test("has kept the original byte for byte, and said so", () => {
    expect(contents(`${data}.first-edition`)).toEqual(original);
    expect(said(/a copy is kept/)).toHaveLength(1);
    expect(said(/"rows":\d+,"msg":"rows of the edition before converted"/)).toHaveLength(1);
    expect(readFileSync(`${data}/format`, "utf8")).toBe("2\n");
  });

  test("takes changes, and a second start copies and converts nothing", async () => {
    const made = await controller.create("network", { name: "new" });
    await controller.stop();
    await controller.start();
    expect((await controller.api("GET", `/v2.0/networks/${made.id}`)).status).toBe(200);
    expect(said(/copy|converted/)).toEqual([]);
    expect(contents(`${data}.first-edition`)).toEqual(original);
  });

  test("refuses a newer format in one line that names both, and changes nothing", async () => {
    await controller.stop();
    writeFileSync(`${data}/format`, "3\n");
    const before = contents(data);
    await expect(controller.start()).rejects.toThrow();
    expect(controller.lines.filter((line) => line.startsWith("axion:"))).toEqual([`axion: ${data} has data format 3, this version knows up to 2`]);
    expect(contents(data)).toEqual(before);
  });
});

describe("the copy", () => {
  const dir = mkdtempSync(join(tmpdir(), "axion-first-"));
  const data = `${dir}/data`;
  const copy = `${data}.first-edition`;
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test("is not made over something else, and the directory stays as it is", async () => {
    unpack(data);
    const before = contents(data);
    mkdirSync(copy);
    writeFileSync(`${copy}/notes`, "mine");
    await expect(keepFirstEdition(data)).rejects.toMatchObject({ code: "IO", message: `${data} is of the first edition and is to be kept as ${copy}, but that is something else's: move it away` });
    expect([contents(data), contents(copy)]).toMatchObject([before, { notes: expect.any(String) as string }]);
    rmSync(copy, { recursive: true });
  });

  test("is finished after a start that was killed, before or after it got its name", async () => {
    unpack(data);
    const before = contents(data);
    mkdirSync(`${copy}.part/store`, { recursive: true });
    writeFileSync(`${copy}.part/store/half`, "");
    expect(await keepFirstEdition(data)).toBe(copy);
    expect(contents(copy)).toEqual(before);
    rmSync(`${data}/format`);
    expect(await keepFirstEdition(data)).toBeUndefined();
    expect(await keepFirstEdition(`${data}/`)).toBeUndefined();
    expect(existsSync(`${copy}.part`)).toBe(false);
    expect(contents(copy)).toEqual(before);
  });

  test("that has no room is said in one line, and nothing is left of it", async () => {
    const small = `${dir}/small`;
    mkdirSync(small);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=80k", "tmpfs", small]);
    try {
      unpack(`${small}/data`);
      const before = contents(small);
      await expect(keepFirstEdition(`${small}/data`)).rejects.toMatchObject({
        code: "IO", message: expect.stringMatching(/^\S+ is of the first edition and cannot be kept as \S+\.first-edition: it takes \d+ bytes, \d+ are free$/) as string,
      });
      expect(contents(small)).toEqual(before);
      expect(readdirSync(small)).toEqual(["data"]);
    } finally {
      execFileSync("umount", [small]);
    }
  });

  test("is not made of a new directory, which is marked", async () => {
    expect(await keepFirstEdition(`${dir}/some/new`)).toBeUndefined();
    expect(contents(`${dir}/some`)).toEqual({ "new/format": expect.any(String) as string });
  });
});

describe("over switches", () => {
  let lab: Lab;
  let controller: Controller;
  beforeAll(async () => {
    lab = await Lab.create({ name: "first-edition.test" });
    unpack(`${lab.dir}/controller.data`);
    const [started, ...hosts] = await Promise.all([startController(lab), ...["hv1", "hv2"].map((name) => lab.addHypervisor({ name }))]);
    controller = started;
    for (const hv of hosts) await hv.setManager(lab.manager);
    for (const [name, hv] of [["vm1", hosts[0]!], ["vm2", hosts[1]!], ["vm3", hosts[1]!]] as const) {
      const port = shown.ports!.find((p) => p.name === name)!;
      const vm = await lab.addVm({ name, hypervisor: hv, portId: port.id, mac: port.mac_address as string, mtu: 1400 });
      const [{ ip_address: ip }] = port.fixed_ips as [{ ip_address: string }];
      await vm.setAddress(`${ip}/24`, ip.replace(/\d+$/, "1"));
      vms.push({ vm, ip });
    }
    await synced();
  });
  afterAll(async () => lab?.destroy());

  const vms: { readonly vm: Awaited<ReturnType<Lab["addVm"]>>; readonly ip: string }[] = [];
  const synced = async (): Promise<void> => {
    await until("two switches in sync", async () => {
      const states = switchStates((await controller.ops("GET", "/switches")).body);
      return states.filter((s) => s.connected && s.pending === 0 && s.desired === s.installed && s.desired > 0).length === 2;
    }, { timeoutMs: 20_000 });
  };

  test("its ports are ACTIVE and its groups let pass what they allow, through its router too", async () => {
    for (const name of ["vm1", "vm2", "vm3"]) {
      const { id } = shown.ports!.find((p) => p.name === name)!;
      await until(`${name} ACTIVE`, async () => (await controller.api<{ port: { status: string } }>("GET", `/v2.0/ports/${id}`)).body.port.status === "ACTIVE");
    }
    // vm1's group lets the members of vm2's group ping, and nobody else.
    await until("vm2 to reach vm1", () => vms[1]!.vm.reaches(vms[0]!.ip));
    expect(await vms[2]!.vm.reaches(vms[0]!.ip)).toBe(false);
    await until("vm1 to reach its router", () => vms[0]!.vm.reaches("10.2.0.1"));
  });

  test("a restart sends no flow-mod", async () => {
    await sleep(500);
    expect(await controller.stop()).toBe(0);
    await controller.start();
    await synced();
    await sleep(1000);
    expect(metricOf((await controller.ops<string>("GET", "/metrics")).body, "axion_flow_mods_sent_total")).toBe(0);
  });
});
