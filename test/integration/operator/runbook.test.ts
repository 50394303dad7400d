// docs/runbook.md: the fault of each section is made on a lab, its commands are run word for word, and show what the page says they show.
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { cp, mkdir, readdir, rm, stat, truncate } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Controller, repositoryRoot } from "../../../lab/controller.ts";
import { onHost } from "../../../lab/demo/picture.ts";
import { exec, until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { missingLine, stepsOf } from "../../support/pages.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
/** Faults that are known for what they are only after time-outs, or need the controller started again: of these npm test has what it can in other files. */
const LONG = new Set(["A host is silent", "A switch holds: it would lose flows", "A tunnel is down, or large packets do not pass", "The disk is full"]);

const page = readFileSync(path.join(repositoryRoot(), "docs/runbook.md"), "utf8");
const sections = new Set(page.split(/^## /m).slice(1).map((section) => section.split("\n", 1)[0]!));
const allSteps = stepsOf(page);
const definitions = allSteps.filter(({ section }) => section === "").map(({ commands }) => commands).join("");

/** Makes a fault; what is half made is mended. */
async function undone(mend: () => Promise<void>, make: () => Promise<void>): Promise<() => Promise<void>> {
  try {
    await make();
  } catch (error) {
    await mend();
    throw error;
  }
  return mend;
}

describe.skipIf(Lab.missing().length > 0)("the runbook", () => {
  let cloud: Cloud;
  let front: Net;
  let group: Resource;
  let web: Instance, db: Instance;
  let preamble = "";
  /** What one section adds to it. */
  let own: Record<string, string> = {};

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "runbook", physnets: ["ext"], host: (n) => ({ gateway: n === 2 }) });
    front = await cloud.network("10.0.0.0/24");
    const outside = await cloud.create("network", { name: "outside", "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
    await cloud.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: "203.0.113.1", enable_dhcp: false });
    const router = await cloud.router([front]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.id } });
    group = await cloud.create("security_group", { name: "db" });
    for (const rule of [{ protocol: "icmp" }, { protocol: "tcp", port_range_min: 22, port_range_max: 22 }]) await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ...rule });
    [web, db] = await Promise.all([cloud.instance(cloud.hv(1), front, { port: { name: "web" } }), cloud.instance(cloud.hv(2), front, { port: { name: "db", security_groups: [group.id] } })]);
    await cloud.create("floatingip", { floating_network_id: outside.id, port_id: web.port.id });
    const bin = `${cloud.lab.dir}/bin`;
    mkdirSync(bin);
    symlinkSync(path.join(repositoryRoot(), "bin/axion.js"), `${bin}/axion`);
    const [api, ops] = await Promise.all([cloud.lab.publish(9696, 0), cloud.lab.publish(9697, 0)]);
    preamble = [`PATH=${bin}:$PATH`, `API=${api.url} OPS=${ops.url} CONTROLLER=${cloud.lab.node.ip}`, `export AXION_OPS_URL=${ops.url}`, ...onHost(cloud.lab), definitions].join("\n");
  });
  afterAll(() => cloud?.destroy());

  const ids = (hv: number, ...keys: string[]): Promise<unknown> => cloud.hv(hv).vsctl("set", "Open_vSwitch", ".", ...keys.map((key) => `external_ids:${key}`));

  /** The faults, by the headings of the page: each is made, and what is answered mends it. */
  const faults: Readonly<Record<string, () => Promise<() => Promise<unknown>>>> = {
    "A VM has no address": async () => {
      await web.vm.exec(["ip", "link", "set", "eth0", "address", "52:54:00:00:00:01"]);
      const asking = web.vm.spawn(["udhcpc", "-f", "-i", "eth0", "-s", "/bin/true", "-t", "200", "-T", "1"]);
      return async () => {
        await asking.stop("SIGKILL");
        await web.vm.exec(["ip", "link", "set", "eth0", "address", web.port.mac_address as string]);
      };
    },
    "A port stays DOWN": async () => {
      const late = await cloud.create("port", { network_id: front.network.id, name: "late" });
      await cloud.hv(1).vsctl("add-port", "br-int", "plug1", "--", "set", "Interface", "plug1", "type=internal", "external_ids:iface-id=00000000-0000-4000-8000-00000000000a");
      return async () => {
        await cloud.hv(1).unplug("plug1");
        await cloud.remove("port", late.id);
      };
    },
    "One tenant is slow": async () => {
      const policy = (await cloud.call("POST", "/v2.0/qos/policies", { policy: { name: "slow" } })).body["policy"]! as Resource;
      await cloud.call("POST", `/v2.0/qos/policies/${policy.id}/bandwidth_limit_rules`, { bandwidth_limit_rule: { max_kbps: 300, direction: "egress" } });
      await cloud.update("port", web.port.id, { qos_policy_id: policy.id });
      await cloud.synced();
      const flood = web.vm.spawn(["ping", "-q", "-i", "0.002", "-s", "1400", db.ip]);
      return async () => {
        await flood.stop("SIGKILL");
        await cloud.update("port", web.port.id, { qos_policy_id: null });
      };
    },
    "A VM does not reach another": () => Promise.resolve(() => Promise.resolve()),
    "No way outside, or a floating IP is dead": async () => {
      await ids(2, "axion-gateway=false");
      return () => ids(2, "axion-gateway=true");
    },
    "A host is silent": async () => {
      await cloud.hv(2).setManagementLink("down");
      return () => cloud.hv(2).setManagementLink("up");
    },
    "The controller does not start: a port is taken": async () => {
      const other = net.createServer().listen(0, "127.0.0.1");
      await new Promise((done) => other.once("listening", done));
      own = { DATA: `${cloud.lab.dir}/fresh`, AXION_API: `127.0.0.1:${(other.address() as net.AddressInfo).port}`, AXION_OPS: "127.0.0.1:0", AXION_OPENFLOW: "127.0.0.1:0", AXION_OVSDB: "127.0.0.1:0" };
      return () => new Promise((done) => other.close(done));
    },
    "The controller does not start: its store is damaged": async () => {
      const copy = `${cloud.lab.dir}/copy`;
      await cp(cloud.controller.dataDir, copy, { recursive: true });
      // The end of the newest journal is cut off, as a disk does that loses what it said to have.
      const journal = (await readdir(`${copy}/store`)).filter((name) => name.endsWith(".log")).sort().at(-1)!;
      await truncate(`${copy}/store/${journal}`, Math.floor((await stat(`${copy}/store/${journal}`)).size / 2));
      own = { DATA: copy };
      return () => rm(copy, { recursive: true });
    },
    "A switch holds: it would lose flows": async () => {
      await cloud.controller.stop();
      const empty = new Controller(cloud.lab, { name: "empty" });
      return undone(async () => {
        await empty.stop();
        await cloud.controller.start();
      }, () => empty.start());
    },
    "A tunnel is down, or large packets do not pass": async () => {
      await cloud.hv(2).setUnderlayLink("down");
      return () => cloud.hv(2).setUnderlayLink("up");
    },
    "The disk is full": async () => {
      await cloud.controller.stop();
      const small = `${cloud.lab.dir}/small`;
      await mkdir(small);
      await exec(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small]);
      await cp(cloud.controller.dataDir, `${small}/data`, { recursive: true });
      const full = new Controller(cloud.lab, { name: "full", dataDir: `${small}/data` });
      return undone(async () => {
        await full.stop();
        await exec(["umount", "-l", small]);
        await cloud.controller.start();
      }, async () => {
        await full.start();
        await exec(["sh", "-c", `cat /dev/zero >${small}/filled`], { allowFailure: true });
        // What is in blocks that the store has already it may still write.
        await until("a write that fails", async () => (await full.api("POST", "/v2.0/networks", { network: { name: "x", description: "x".repeat(200) } })).status === 503, { timeoutMs: 20_000 });
        own = { DATA: `${small}/data` };
      });
    },
    "The API is slow": async () => {
      const pid = await cloud.hv(2).vswitchdPid();
      process.kill(pid, "SIGSTOP");
      await cloud.update("port", db.port.id, { admin_state_up: false });
      return async () => {
        process.kill(pid, "SIGCONT");
        await cloud.update("port", db.port.id, { admin_state_up: true });
      };
    },
    "Which change broke it": async () => {
      const rules = (await cloud.call("GET", `/v2.0/security-group-rules?security_group_id=${group.id}&port_range_min=22`)).body as unknown as { security_group_rules: Resource[] };
      await cloud.remove("security_group_rule", rules.security_group_rules[0]!.id);
      await cloud.synced();
      return () => Promise.resolve();
    },
  };

  test("has a fault for each section, and no other", () => {
    expect(Object.keys(faults)).toEqual([...sections]);
    expect([...LONG].filter((heading) => !sections.has(heading))).toEqual([]);
  });

  test.each([...sections].filter((heading) => nightly || !LONG.has(heading)))("%s", async (heading) => {
    own = {};
    const mend = await faults[heading]!();
    try {
      let before = "";
      const steps = allSteps.filter(({ section }) => section === heading);
      expect(steps.length).toBeGreaterThan(0);
      for (const { commands, shows } of steps) {
        expect(shows.length, commands).toBeGreaterThan(0);
        let output = "";
        // What is wrong is known some seconds after it is.
        await until("the lines of the page", async () => {
          const { stdout, stderr } = await exec(["bash", "-u"], { input: `${preamble}\n${Object.entries(own).map(([name, value]) => `export ${name}=${value}\n`).join("")}${before}\n${commands}`, allowFailure: true, timeoutMs: 60_000 });
          output = stdout + stderr;
          return missingLine(output, shows) === undefined;
        }, { timeoutMs: 40_000, intervalMs: 250 }).catch((error: unknown) => {
          throw new Error(`${heading}: ${commands}\nshows\n${output}\nwithout: ${missingLine(output, shows) ?? ""}`, { cause: error });
        });
        // Variables of an earlier block are there for the next.
        before += commands.split("\n").filter((line) => /^\w+=/.test(line)).map((line) => `${line}\n`).join("");
      }
    } finally {
      await mend();
    }
    await cloud.synced();
  }, 180_000);
});
