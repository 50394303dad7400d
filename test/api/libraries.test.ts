// Libraries that programs talk to the API with, and a real Keystone: Debian's neutronclient (and its command `neutron`), and in npm run test:nightly gophercloud.
// @module-tag long
import { existsSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repositoryRoot } from "../../lab/controller.ts";
import { exec } from "../../lab/exec.ts";
import { Keystone, keystoneMissing } from "../support/api/keystone.ts";
import { ControllerProcess, nightly } from "../support/process.ts";
import { routesOf, type Description } from "../support/api/api-requests.ts";

const GOPATH = "/usr/share/gocode";
const clients = path.join(repositoryRoot(), "test/api/clients");
/** Without them a nightly run has been started without its dependencies: that is a failure. */
const withGo = nightly || (existsSync("/usr/bin/go") && existsSync(`${GOPATH}/src/github.com/gophercloud/gophercloud`));

describe.skipIf((await keystoneMissing()).length > 0)("libraries of others", () => {
  let keystone: Keystone;
  let controller: ControllerProcess;
  beforeAll(async () => {
    keystone = await Keystone.start();
    controller = await ControllerProcess.start({ flags: ["--auth", "keystone", "--keystone-url", keystone.url, "--keystone-user", "neutron", "--keystone-password-file", keystone.passwordFile, "--vlan-ranges", "physnet1:100:109"] });
    await keystone.network(`http://127.0.0.1:${controller.apiPort}`);
  }, 300_000);
  afterAll(async () => {
    await controller?.destroy();
    await keystone?.stop();
  });

  test("neutronclient makes, reads, changes and deletes one of each resource that can be made", { timeout: 180_000 }, async () => {
    const { stdout } = await exec(["/usr/bin/python3", "-W", "ignore", path.join(clients, "neutron.py")], { env: { ...keystone.environment("admin"), PATH: "/usr/bin:/bin" }, timeoutMs: 150_000 });
    const made = new Set(JSON.parse(stdout) as string[]);
    const description = (await controller.api("GET", "/openapi.json")).body as Description;
    // A binding of a port is to a host, and there is none here.
    const wanted = routesOf(description).filter(({ kind, operation }) => operation.operationId === `create_${kind}` && kind !== "binding");
    expect([...made].toSorted()).toEqual([...new Set(wanted.map((r) => r.kind))].toSorted());
  });

  test("the command neutron lists, makes, shows, changes and deletes", { timeout: 180_000 }, async () => {
    const neutron = async (...argv: string[]): Promise<unknown> => {
      const { stdout } = await exec(["/usr/bin/neutron", ...argv], { env: { ...keystone.environment("demo"), PATH: "/usr/bin:/bin", PYTHONWARNINGS: "ignore" }, timeoutMs: 60_000 });
      return argv.includes("json") ? (JSON.parse(stdout.slice(stdout.search(/^[[{]/m))) as unknown) : stdout;
    };
    const { id } = (await neutron("net-create", "blue", "-f", "json")) as { id: string };
    expect(await neutron("subnet-create", "blue", "10.0.0.0/24", "--name", "four", "-f", "json")).toMatchObject({ cidr: "10.0.0.0/24", network_id: id });
    await neutron("net-update", "blue", "--name", "green");
    expect(await neutron("net-show", "green", "-f", "json")).toMatchObject({ id, name: "green" });
    expect(await neutron("net-list", "-f", "json")).toMatchObject([{ id, name: "green" }]);
    await neutron("net-delete", "green");
    expect(await neutron("net-list", "-f", "json")).toEqual([]);
  });

  test.skipIf(!withGo)("gophercloud makes, reads, changes and deletes (skipped but in npm run test:nightly, where Go is not installed)", { timeout: 600_000 }, async () => {
    const program = path.join(keystone.folder, "gophercloud");
    const env = { PATH: "/usr/bin:/bin", HOME: keystone.folder, GOCACHE: path.join(keystone.folder, "go-build"), GOPATH, GO111MODULE: "off", GOFLAGS: "", GOPROXY: "off", CGO_ENABLED: "0" };
    await exec(["/usr/bin/go", "build", "-o", program, path.join(clients, "gophercloud.go")], { env, timeoutMs: 500_000 });
    await exec([program], { env: keystone.environment("admin"), timeoutMs: 60_000 });
  });
});
