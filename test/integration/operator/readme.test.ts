// What README tells to type about a tenant of one's own, word for word, in a network namespace where the ports are free. "A VM of your own" is in demo.test.ts.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { exec } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-readme-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The commands that stand below a line of README, up to the next text. */
function commandsBelow(line: RegExp): string[] {
  const lines = readFileSync(path.join(repositoryRoot(), "README.md"), "utf8").split("\n");
  const from = lines.findIndex((one) => line.test(one)) + 1;
  expect(from).toBeGreaterThan(0);
  const below = lines.slice(from);
  const begin = below.findIndex((one) => one.startsWith("    "));
  const end = below.findIndex((one, i) => i > begin && one !== "" && !one.startsWith("    "));
  return below.slice(begin, end).filter((one) => one !== "").map((one) => one.slice(4));
}

/** In a shell of its own: the controller in the background until it is ready, then the rest, then the controller's end. */
function script(commands: readonly string[], background: RegExp): string {
  // What the test before has left there says ready, too.
  const out = commands.map((command) => (background.test(command) ? `${command} >~/log 2>&1 & controller=$!\nuntil grep -q '"msg":"ready"' ~/log; do kill -0 $controller; sleep 0.1; done` : command));
  return ["ip link set lo up", ": >~/log", ...out, "kill $controller", "wait $controller", ""].join("\n");
}

test.skipIf(Lab.missing().length > 0)("OpenStack's client makes a network, a subnet and a port as a member of a project", async () => {
  const commands = commandsBelow(/^With `--auth none` OpenStack's client is always an administrator/);
  expect(commands.map((command) => command.split(" ")[0])).toEqual(["echo", "npm", "openstack", "openstack", "openstack"]);
  const { stdout } = await exec(["unshare", "--net", "bash", "-eu"], {
    input: script(commands, /^npm start/), cwd: repositoryRoot(), env: { HOME: dir, AXION_DATA_DIR: path.join(dir, "data") }, timeoutMs: 100_000,
  });
  expect(stdout).toMatch(/\| project_id +\| acme +\|/);
  expect(stdout).toMatch(/\| cidr +\| 10\.0\.0\.0\/24 +\|/);
  expect(stdout).toMatch(/\| fixed_ips +\| ip_address='10\.0\.0\.\d+'/);
}, 120_000);

test.skipIf(Lab.missing().length > 0)("a first network with curl", async () => {
  const [start] = commandsBelow(/^## Run it/);
  const commands = commandsBelow(/^A first network \(without headers/);
  // The id is what a person copies from the first answer.
  const id = `'"$(node -p 'JSON.parse(fs.readFileSync(process.env.HOME + "/network")).network.id')"'`;
  const filled = commands.map((command) => (command.startsWith("api networks") ? `${command} | tee ~/network` : command.replaceAll("<id of the network>", id)));
  const { stdout } = await exec(["unshare", "--net", "bash", "-eu"], {
    input: script([start!.replace("/var/lib/axion", "~/lib"), ...filled], /^npm start/), cwd: repositoryRoot(), env: { HOME: dir }, timeoutMs: 60_000,
  });
  expect(stdout).toMatch(/"subnet":\{/);
  expect(stdout).toMatch(/"port":\{.*"mac_address"/);
}, 120_000);
