// The demo as a user runs it, from dist: every encapsulation, both underlays, two at once, interrupted; and that nothing
// of it is left on the machine.

import { readFileSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { nightly } from "../../support/process.ts";
import { alive, exec, Running, until } from "../../../lab/exec.ts";

const DEMO = path.join(repositoryRoot(), "dist/lab/demo.js");
const TIMEOUT_MS = 180_000;
const running = new Set<Running>();

function start(flags: readonly string[] = [], env?: Record<string, string>): Running {
  const demo = new Running([process.execPath, "--enable-source-maps", DEMO, ...flags], env && { env });
  running.add(demo);
  void demo.exited.then(() => running.delete(demo));
  return demo;
}

/** Namespaces, files and processes that bear the name of the demo's run. */
async function left(demo: Running): Promise<string[]> {
  const [spaces, files, processes] = await Promise.all([
    readdir("/run/netns").catch(() => []),
    readdir("/tmp"),
    exec(["ps", "-eo", "pid,args"]),
  ]);
  const name = new RegExp(`\\bax${demo.pid}[a-z]+-`);
  return [...spaces, ...files, ...processes.stdout.split("\n")].filter((entry) => name.test(entry));
}

/** Whether a switch of the demo's hosts is dead. */
async function switchDead(demo: Running): Promise<boolean> {
  const dir = (await readdir("/tmp")).find((name) => name.startsWith(`ax${demo.pid}a-`))!;
  const pids = await Promise.all(["hv2", "hv3"].map(async (host) => Number(await readFile(`/tmp/${dir}/${host}/vsw.pid`, "utf8"))));
  return !(await Promise.all(pids.map((pid) => alive(pid)))).every(Boolean);
}

/** The commands below a heading of README, as a script. */
function commandsOf(heading: string): string {
  const [, rest = ""] = readFileSync(path.join(repositoryRoot(), "README.md"), "utf8").split(`${heading}\n`);
  const lines = rest.split(/^#+ /m, 1)[0]!.split("\n").filter((line) => line.startsWith("    ")).map((line) => line.slice(4));
  expect(lines.length).toBeGreaterThan(5);
  return `${lines.join("\n")}\n`;
}

/** Its end: the exit code and, for a message should it be wrong, all it said. */
async function end(demo: Running): Promise<{ code: number | null; output: string }> {
  const { code } = await demo.exited;
  return { code, output: demo.lines.join("\n") };
}

async function checked(...flags: string[]): Promise<string> {
  const demo = start(["--check", ...flags]);
  const { code, output } = await end(demo);
  expect(code, output).toBe(0);
  expect(output).toMatch(/(\d+) of \1 checks held/);
  expect(await left(demo)).toEqual([]);
  return output;
}

afterEach(async () => {
  await Promise.all([...running].map((demo) => demo.stop("SIGTERM", 20_000)));
});

describe("npm run demo -- --check", () => {
  test("geneve", async () => {
    const output = await checked();
    expect(output).toMatch(/tunnels: [1-9]\d* geneve packets between hosts over ipv4, 0 outside/);
    expect(output).toMatch(/blue sees nothing of red: 0 of [1-9]\d* packets/);
    expect(output).toMatch(/red sees nothing of blue: 0 of [1-9]\d* packets/);
    expect(output).toMatch(/the server sees 4 as (203\.0\.113\.\d+) \(red's gateway, on hv[23]\) and 4 as (?!\1 )203\.0\.113\.\d+ \(blue's gateway, on hv[23]\), 0 packets of 10/);
    expect(output).toMatch(/red1 is seen as 203\.0\.113\.\d+ now, [1-9]\d* packets left from its own host, hv1;/);
    expect(output).toMatch(/the console: 200, a page of [1-9]/);
    expect(output).toMatch(/a packet traced: tcp\/22 from red1 to red2: [1-9]\d* lookups on hv1 and hv2, delivered, and the answer delivered/);
    expect(output).toMatch(/ {4}hv1 {2}classify > port_security > [\s\S]* {4}hv2 {2}classify > [\s\S]* {4}delivered to red2 on hv2, and what it answers to red1/);
    expect(output).toMatch(/ {4}dropped, security_group: no ingress rule of port red4 allows tcp 80 from 10\.0\.0\.\d+\n[\s\S]* {4}POST \/v2\.0\/security-group-rules \{"security_group_rule":/);
    expect(output).toMatch(/has blue's gateway after [1-9]\d{0,3} ms \([1-9]\d* of \d+ pings lost/);
  }, TIMEOUT_MS);

  // Each kind of tunnel is tried in hosts/transfer.test.ts as well.
  const ways: readonly { readonly demos: readonly (readonly [encap: string, underlay: string])[] }[] = [{ demos: [["geneve", "ipv6"]] }, ...(nightly ? [{ demos: [["vxlan", "ipv4"], ["gre", "ipv4"]] as const }] : [])];
  test.each(ways)("other ways: $demos", { tags: "long", timeout: TIMEOUT_MS }, async ({ demos }) => {
    const outputs = await Promise.all(demos.map(([encap, underlay]) => checked("--encap", encap, `--underlay=${underlay}`)));
    for (const [i, [encap, underlay]] of demos.entries()) expect(outputs[i]).toMatch(new RegExp(`tunnels: [1-9]\\d* ${encap} packets between hosts over ${underlay}, 0 outside`));
  });

  test("a cluster", { tags: "long", timeout: TIMEOUT_MS }, async () => {
    const output = await checked("--cluster");
    expect(output).toMatch(/each host has one master: hv1: b, hv2: c, hv3: a/);
    expect(output).toMatch(/kill -9 of b, [ac] has hv1 after \d+\.\d s; 0 of [1-9]\d* pings lost, flows of 0 hosts changed/);
  });

  test("what is not there fails its checks, and no others", { tags: "long", timeout: TIMEOUT_MS }, async () => {
    const { code, output } = await end(start(["--check"], { AXION_DISABLE_APP: "nat" }));
    expect(code, output).toBe(1);
    const failed = [...output.matchAll(/FAILED (.*?)(?::|$)/gm)].map((match) => match[1]);
    expect(failed, output).toEqual(["outside, both tenants at once", "a floating IP", "a forwarded port", "a gateway's host killed, and no controller"]);
    expect(output).toMatch(/27 checks held, 4 failed: /);
    await rm(/^logs: (\/tmp\/axion-demo-logs-\S+)$/m.exec(output)![1]!, { recursive: true });
  });
});

describe("npm run demo", () => {
  test("stays up, its addresses answer, README's VM is plugged word for word, and Ctrl-C removes it", { tags: "long", timeout: TIMEOUT_MS }, async () => {
    const demo = start();
    await demo.waitFor(/Up until Ctrl-C/, TIMEOUT_MS);
    const url = (name: string): string => new RegExp(`${name} +(http://\\S+)`).exec(demo.lines.join("\n"))![1]!;
    const networks = (await (await fetch(`${url("the API")}/v2.0/networks`)).json()) as { networks: { name: string }[] };
    expect(networks.networks.map((network) => network.name).sort()).toEqual(["blue-back", "blue-front", "internet", "red-back", "red-dmz", "red-front"]);
    expect(await (await fetch(`${url("the ops listener")}/flows?format=text`)).text()).toMatch(/^# switch hv1$/m);
    expect(await (await fetch(url("the console"))).text()).toContain("Axion console");
    const { stdout } = await exec(["bash", "-eu"], { input: commandsOf("### A VM of your own"), timeoutMs: 60_000 });
    expect(stdout).toMatch(/3 packets transmitted, 3 received, 0% packet loss/);
    expect(stdout).toMatch(/the web server sees you as 203\.0\.113\.\d+/);
    expect(stdout).toMatch(/^# switch hv1$/m);
    demo.child.kill("SIGINT");
    const { code, output } = await end(demo);
    expect(code, output).toBe(0);
    expect(await left(demo)).toEqual([]);
  });

  for (const [what, line] of [["making the lab", /^Lab$/], ...(nightly ? ([["starting", /hypervisors, each/], ["checking", /^Checks$/], ["a gateway's host is dead", /the controller killed: /]] as const) : [])] as const) {
    test(`interrupted while ${what}`, async () => {
      const demo = start(["--check"]);
      await demo.waitFor(line, TIMEOUT_MS);
      if (what === "a gateway's host is dead") await until("a dead switch", () => switchDead(demo), { timeoutMs: 20_000 });
      demo.child.kill("SIGINT");
      const { code, output } = await end(demo);
      expect(code, output).toBe(130);
      // a shell that outlives the demo looks once more for what was just being started
      await until("nothing left", async () => (await left(demo)).length === 0);
    }, TIMEOUT_MS);
  }

  test("killed, it leaves nothing either", async () => {
    const demo = start(["--check"]);
    await demo.waitFor(/hypervisors, each/, TIMEOUT_MS);
    demo.child.kill("SIGKILL");
    await demo.exited;
    await until("nothing left", async () => (await left(demo)).length === 0);
  }, TIMEOUT_MS);

  test("a flag that is not known, and help", async () => {
    expect(await end(start(["--encap", "stt"]))).toEqual({ code: 2, output: "axion: --encap is one of geneve, vxlan, gre, not stt" });
    expect(await end(start(["--frobnicate"]))).toMatchObject({ code: 2, output: expect.stringContaining("no such flag: --frobnicate") as string });
    expect(await end(start(["--help"]))).toMatchObject({ code: 0, output: expect.stringContaining("--underlay ipv4|ipv6") as string });
  });

  test("without root, one line that says so", async () => {
    const { stderr, stdout, exitCode } = await exec(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, DEMO, "--check"], { allowFailure: true });
    expect({ exitCode, stdout, lines: stderr.trim().split("\n").length }).toEqual({ exitCode: 1, stdout: "", lines: 1 });
    expect(stderr).toMatch(/missing here: root.*run it as root/);
  });
});
