// Metadata on real switches: curl in machines of two tenants that have one address, each answered with its own; a megabyte of user data, also where packets are lost;
// the built-in source. Nova is a server of the test, which looks at what it is told as Nova does.
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

const SERVICE = "169.254.169.254";
const SECRET = "not to be told";
const PORT = 8775;
const USER_DATA = randomBytes(1 << 20);
const DEVICES = ["11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"] as const;

/** As much of Nova as decides by headers; user data is read from a file. */
const NOVA = `
const { createHmac } = require("node:crypto"), { readFileSync } = require("node:fs");
const [secret, file] = process.argv.slice(1);
require("node:http").createServer((request, response) => {
  const { "x-instance-id": id = "", "x-instance-id-signature": signature, "x-tenant-id": tenant, "x-forwarded-for": from } = request.headers;
  const end = (status, body) => { response.writeHead(status); response.end(body); };
  if (signature !== createHmac("sha256", secret).update(id).digest("hex")) end(403, "signature");
  else if (request.url === "/latest/user-data") end(200, readFileSync(file));
  else if (request.url === "/latest/meta-data/who?x=1") end(200, [id, tenant, from].join(" "));
  else if (request.url === "/fails") end(418, "of Nova alone");
  else end(404, "none");
}).listen(${PORT}, "127.0.0.1");
`;
const sha = (data: Buffer | string): string => createHash("sha256").update(data).digest("hex");
const curl = async (vm: Vm, url: string, ...more: string[]): Promise<string> => (await vm.exec(["curl", "-sS", "--max-time", "60", ...more, url], { timeoutMs: 70_000 })).stdout;
const status = (vm: Vm, path: string, ...more: string[]): Promise<string> => curl(vm, `http://${SERVICE}${path}`, "-o", "/dev/null", "-w", "%{http_code}", ...more);
const bigSha = async (vm: Vm, host = SERVICE): Promise<string> => (await vm.exec(["sh", "-c", `curl -sS --max-time 100 'http://${host}/latest/user-data' | sha256sum`], { timeoutMs: 110_000 })).stdout.split(" ")[0]!;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "axion-metadata-"));
  await Promise.all([writeFile(join(dir, "secret"), `${SECRET}\n`), writeFile(join(dir, "user-data"), USER_DATA)]);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("of Nova", () => {
  let cloud: Cloud;
  const machines: Instance[] = [];
  beforeAll(async () => {
    cloud = await Cloud.create({ name: "metadata.test", hypervisors: 2, flags: ["--nova-metadata-url", `http://127.0.0.1:${PORT}/`, "--metadata-secret-file", join(dir, "secret")] });
    cloud.lab.node.spawn([process.execPath, "-e", NOVA, SECRET, join(dir, "user-data")]);
    for (const [i, project] of ["p1", "p2"].entries()) {
      const net = await cloud.network("10.0.0.0/24", {}, project);
      if (project === "p2") await cloud.router([net], project);
      const port = { device_id: DEVICES[i], device_owner: "compute:nova", fixed_ips: [{ ip_address: "10.0.0.7" }] };
      machines.push(await cloud.instance(cloud.hv(i + 1), net, { project, configure: false, port }));
    }
    for (const { vm } of machines) await vm.dhcp();
    await until("Nova to answer", async () => (await status(machines[0]!.vm, "/latest/user-data")) === "200", { timeoutMs: 10_000 });
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  test("DHCP tells the way where there is no router", async () => {
    const [isolated, routed] = await Promise.all(machines.map(({ vm }) => vm.exec(["ip", "-4", "route"])));
    expect(isolated!.stdout).toContain(`${SERVICE} dev eth0`);
    expect(routed!.stdout).not.toContain(SERVICE);
    expect(routed!.stdout).toContain("default via 10.0.0.1");
  });

  test("two tenants with one address, at once: each is told of itself, whatever it claims", async () => {
    const lies = DEVICES.flatMap((id) => ["-H", `X-Instance-ID: ${id}`, "-H", "X-Tenant-ID: p9", "-H", "X-Forwarded-For: 192.0.2.1"]);
    const answers = await Promise.all([0, 1, 2, 3].flatMap((n) => machines.map(({ vm }) => curl(vm, `http://${SERVICE}/latest/meta-data/who?x=1`, ...(n % 2 === 0 ? lies : [])))));
    for (const [i, answer] of answers.entries()) expect(answer).toBe(`${DEVICES[i % 2]!} p${(i % 2) + 1} 10.0.0.7`);
  });

  test("a megabyte of user data, at both at once", async () => {
    expect(await Promise.all(machines.map(({ vm }) => bigSha(vm)))).toEqual([sha(USER_DATA), sha(USER_DATA)]);
  }, 240_000);

  test("what Nova refuses, and what only Nova may know", async () => {
    const { vm } = machines[0]!;
    expect(await status(vm, "/nothing")).toBe("404");
    expect(await status(vm, "/../../etc/passwd", "--path-as-is")).toBe("404");
    expect([await status(vm, "/fails"), await curl(vm, `http://${SERVICE}/fails`)]).toEqual(["500", "500 Internal Server Error: the metadata API has failed\n"]);
    expect(await status(vm, "/x", "-X", "POST", "--data-binary", "x".repeat(70_000))).toBe("413");
    expect(cloud.controller.lines.join("\n")).not.toContain(SECRET);
  });

  test("with one packet of a hundred lost on the way, and one of five: still whole", async () => {
    const lose = (vm: Vm, of: number): Promise<unknown> => vm.exec(["nft", "-f", "-"], {
      input: `flush ruleset\ntable inet t {\n${["input", "output"].map((hook) => ` chain ${hook} {\n type filter hook ${hook} priority 0;\n numgen random mod ${of} < 1 counter drop\n }\n`).join("")}}\n`,
    });
    const [a, b] = machines.map(({ vm }) => vm) as [Vm, Vm];
    await Promise.all([lose(a, 100), lose(b, 5)]);
    for (let n = 0; n < (nightly ? 20 : 1); n++) expect(await bigSha(a)).toBe(sha(USER_DATA));
    for (let n = 0; n < (nightly ? 100 : 5); n++) expect(await curl(b, `http://${SERVICE}/latest/meta-data/who?x=1`)).toBe(`${DEVICES[1]} p2 10.0.0.7`);
    const counted = (await Promise.all([a, b].map((vm) => vm.exec(["nft", "list", "ruleset"])))).map(({ stdout }) => [...stdout.matchAll(/counter packets (\d+)/g)].reduce((sum, m) => sum + Number(m[1]), 0));
    for (const lost of counted) expect(lost).toBeGreaterThan(0);
    await Promise.all([a, b].map((vm) => vm.exec(["nft", "flush", "ruleset"])));
  }, nightly ? 1_200_000 : 240_000);

  test("a flood of connections that are never used leaves the neighbour's answers as they are, and its own port soon", async () => {
    const [a, b] = machines.map(({ vm }) => vm) as [Vm, Vm];
    const flood = a.spawn([process.execPath, "-e", `
      const net = require("node:net");
      for (let n = 0; n < 300; n++) net.connect(80, "${SERVICE}").on("error", () => undefined);
      setTimeout(() => process.exit(0), 8000);
    `]);
    for (let n = 0; n < 5; n++) expect(await curl(b, `http://${SERVICE}/latest/meta-data/who?x=1`)).toBe(`${DEVICES[1]} p2 10.0.0.7`);
    await flood.stop("SIGKILL");
    await until("its own answer", async () => (await status(a, "/latest/user-data", "--max-time", "5").catch(() => "")) === "200", { timeoutMs: 60_000 });
  }, 120_000);
});

describe("of the model", () => {
  let cloud: Cloud;
  afterAll(async () => cloud?.destroy());

  test("names, addresses, keys and user data, by IPv4 and by IPv6's link-local address", async () => {
    await writeFile(join(dir, "given.json"), JSON.stringify({ public_keys: ["ssh-ed25519 AAAA operator"], projects: { p1: { devices: { web: { user_data: "#!/bin/sh\necho hello\n" } } } } }));
    cloud = await Cloud.create({ name: "metadata.model", hypervisors: 1, flags: ["--metadata-file", join(dir, "given.json")] });
    const net = await cloud.network("10.0.0.0/24");
    await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "2001:db8:9::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    const { vm, ip } = await cloud.instance(cloud.hv(1), net, { configure: false, port: { name: "web-1", device_id: "web", device_owner: "compute:lab" } });
    await vm.dhcp();
    const get = (path: string): Promise<string> => curl(vm, `http://${SERVICE}${path}`);
    expect(await get("/latest/meta-data/local-hostname")).toBe("web-1");
    expect(await get("/latest/meta-data/local-ipv4")).toBe(ip);
    expect(await get("/latest/user-data")).toBe("#!/bin/sh\necho hello\n");
    expect(JSON.parse(await get("/openstack/latest/meta_data.json"))).toMatchObject({ uuid: "web", hostname: "web-1", public_keys: { key0: "ssh-ed25519 AAAA operator" } });
    // Its own link-local address counts once it is known that nobody else has it.
    await until("a link-local address", async () => (await vm.exec(["ip", "-6", "address", "show", "dev", "eth0", "scope", "link", "-tentative"])).stdout.includes("fe80"), { timeoutMs: 30_000 });
    expect(await curl(vm, "http://[fe80::a9fe:a9fe%25eth0]/latest/meta-data/instance-id")).toBe("web");
    expect(await status(vm, "/latest/meta-data/nothing")).toBe("404");
  }, 120_000);
});
