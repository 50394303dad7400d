// What `npm pack` makes is all that a controller needs beside node: no npm, compiler, build or registry where it runs.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { exec, until } from "../../../lab/exec.ts";
import { machineMissing, onMachine } from "../../support/machine.ts";
import { missingLine, stepsOf } from "../../support/pages.ts";
import { nightly } from "../../support/process.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-package-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const { version } = JSON.parse(readFileSync(path.join(repositoryRoot(), "package.json"), "utf8")) as { version: string };
const archive = path.join(dir, `axion-${version}.tgz`);
const TIMEOUT_MS = 180_000;

beforeAll(async () => {
  await exec(["npm", "pack", "--pack-destination", dir], { cwd: repositoryRoot(), timeoutMs: 2 * TIMEOUT_MS });
}, 2 * TIMEOUT_MS);

/** Nothing of this checkout, and nothing to build with, is found. */
const bare = { PATH: "/nonexistent", HOME: dir };

/** Starts it, asks after its health and for a network, and ends it. */
async function serves(axion: string): Promise<void> {
  expect((await exec(["env", "-i", ...Object.entries(bare).map(([name, value]) => `${name}=${value}`), process.execPath, axion, "--version"])).stdout).toBe(`${version}\n`);
  const data = mkdtempSync(path.join(dir, "data-"));
  const child = spawn(process.execPath, [axion, "start", "--data-dir", data, ...["api", "ops", "openflow", "ovsdb"].flatMap((flag) => [`--${flag}`, "127.0.0.1:0"])], { cwd: data, env: bare, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close");
  let out = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
  try {
    await until("ready", () => {
      if (child.exitCode !== null) throw new Error(out);
      return out.includes('"msg":"ready"');
    }, { timeoutMs: 30_000 });
    const { api, ops } = JSON.parse(out.split("\n").find((line) => line.includes('"msg":"ready"'))!) as Record<"api" | "ops", { port: number }>;
    expect(await (await fetch(`http://127.0.0.1:${ops.port}/healthz`)).json()).toEqual({ status: "alive" });
    expect(await (await fetch(`http://127.0.0.1:${ops.port}/console/`)).text()).toContain("Axion console");
    const made = await fetch(`http://127.0.0.1:${api.port}/v2.0/networks`, { method: "POST", body: '{"network":{"name":"n"}}', headers: { "content-type": "application/json" } });
    expect(made.status).toBe(201);
    const { stdout } = await exec([process.execPath, axion, "status", "--ops-url", `http://127.0.0.1:${ops.port}`]);
    expect(stdout).toMatch(/ready/);
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(out).not.toMatch(/Warning|Error/);
  } finally {
    child.kill("SIGKILL");
  }
}

test("unpacked, node runs it", async () => {
  const where = path.join(dir, "unpacked");
  mkdirSync(where);
  await exec(["tar", "-xzf", archive, "-C", where, "--strip-components=1"]);
  await serves(path.join(where, "bin/axion.js"));
  expect(readdirSync(where).sort()).toEqual(["ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "README.md", "bin", "dist", "docs", "node_modules", "package.json", "packaging"]);
  const { stdout } = await exec(["find", where, "-path", `${where}/node_modules/*/node_modules`, "-prune", "-o", "-path", `${where}/dist/*`, "-name", "*.test.*", "-print"]);
  expect(stdout).toBe("");
  expect(await exec([process.execPath, path.join(where, "bin/axion.js"), "lab"], { allowFailure: true })).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("the lab is a part of the repository") as string });
}, TIMEOUT_MS);

test("npm installs it, without a registry", { tags: "long", timeout: TIMEOUT_MS }, async () => {
  const where = path.join(dir, "installed");
  mkdirSync(where);
  await exec(["npm", "install", "--offline", "--omit=dev", "--no-audit", "--no-fund", "--prefix", where, archive], { cwd: where, timeoutMs: TIMEOUT_MS });
  await serves(path.join(where, "node_modules/.bin/axion"));
});

/** Those with more than one start of a controller each. */
const LONG = new Set(["Three controllers", "Backup, and back", "Upgrade"]);

describe.skipIf(machineMissing() !== undefined)("under systemd", () => {
  test("the commands of docs/deployment.md do what it says, the unit keeps its promises, and a purge leaves nothing", { tags: "long", timeout: 5 * TIMEOUT_MS }, async () => {
    const { stdout } = await exec(["bash", path.join(repositoryRoot(), "packaging/deb/build.sh"), "--out", dir, "--archive", archive, "--compress", "none"], { timeoutMs: TIMEOUT_MS });
    const deb = stdout.trim();
    expect((await exec(["dpkg-deb", "--info", deb])).stdout).toContain(` Version: ${version}\n`);
    const steps = stepsOf(readFileSync(path.join(repositoryRoot(), "docs/deployment.md"), "utf8")).filter(({ section }) => nightly || !LONG.has(section));
    expect([...LONG].filter((section) => nightly && !steps.some((step) => step.section === section))).toEqual([]);
    /** What has to be there before a section, as it is on the machines that the page is about. */
    const before: Readonly<Record<string, string>> = {
      "A host comes, a host goes": `
        cp /root/pki/hosts/hv1.* /root/pki/ca.pem /etc/openvswitch/
        mkdir -p /run/openvswitch
        ovsdb-tool create /root/conf.db /usr/share/openvswitch/vswitch.ovsschema
        ovsdb-server /root/conf.db --remote=punix:/run/openvswitch/db.sock --remote=db:Open_vSwitch,Open_vSwitch,manager_options --private-key=db:Open_vSwitch,SSL,private_key --certificate=db:Open_vSwitch,SSL,certificate --ca-cert=db:Open_vSwitch,SSL,ca_cert --detach --pidfile --log-file=/root/ovsdb.log -vconsole:off
        ovs-vsctl --no-wait init
        ovs-vsctl --no-wait set Open_vSwitch . external_ids:axion-datapath-type=netdev
        ovs-vswitchd --detach --pidfile --log-file=/root/vswitchd.log -vconsole:off`,
      "Three controllers": "systemctl start etcd",
    };
    let last = "";
    const typed = steps.map(({ section, commands }, i) => {
      const first = section === last ? "" : (before[section] ?? "");
      last = section;
      return `${first}\necho; echo "== ${i}"\n${commands}`;
    });
    const said = await onMachine(`
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
ip address add 192.0.2.11/32 dev lo
ip address add 192.0.2.101/32 dev lo
mkdir -p /run/systemd/journal && systemctl start systemd-journald
set +e
cd /root
${typed.join("\n")}
echo; echo "== ${steps.length}"
set -e
shown() { systemctl show axion -p "$1" --value; }
awaits() { for _ in $(seq 600); do if eval "$1"; then return; fi; sleep 0.1; done; echo "never: $1"; return 1; }
echo "libraries: $(find /usr/lib/axion -name '*.node' | wc -l), modes: $(stat -c '%U:%G %a' /etc/axion /etc/axion/axion.yaml /var/lib/axion | xargs)"
systemd-analyze verify /usr/lib/systemd/system/axion.service
systemd-analyze security --offline=yes --threshold=20 --no-pager axion.service | tail -n 1
pid=$(shown MainPID)
echo "runs as $(stat -c %U /proc/$pid), $(grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/$pid/status | xargs)"
kill -9 $pid # it comes back
awaits '[ "$(shown NRestarts)" = 1 ]'
awaits 'curl -sf http://127.0.0.1:9697/readyz >/dev/null'
dpkg --remove axion 2>&1
echo "removed: $(shown LoadState), $(ls /etc/axion | xargs)"
dpkg --purge axion 2>&1
echo "left: $(find /usr/lib/axion /usr/bin/axion /usr/lib/systemd/system/axion.service /var/lib/axion /etc/axion/axion.yaml 2>/dev/null | xargs), $(stat -c %U:%G /etc/axion/tokens.yaml)"
echo "running: $(pgrep -c axion.js || true), user: $(getent passwd axion || echo none)"
`, [deb], 3 * TIMEOUT_MS);
    const parts = said.split(/^== \d+\n/m);
    for (const [i, { section, commands, shows }] of steps.entries()) {
      expect(shows.length, commands).toBeGreaterThan(0);
      const missing = missingLine(parts[i + 1] ?? "", shows);
      expect.soft(missing, `${section}: ${commands}\nshows\n${parts[i + 1] ?? ""}\nwithout: ${missing ?? ""}`).toBeUndefined();
    }
    const end = parts.at(-1)!;
    expect(end).toContain("libraries: 1, modes: root:axion 750 root:root 644 axion:axion 700\n");
    expect(end).toMatch(/Overall exposure level for axion.service: [01]\.\d/);
    expect(end).toContain("runs as axion, CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2\n");
    expect(end).toContain("removed: not-found, axion.yaml tls tokens.yaml\n");
    expect(end).toContain("left: , root:root\nrunning: 0, user: none");
  });
});
