// FTP and TFTP through translations on real switches, with curl as the client: a VM behind a gateway fetches from a server outside, somebody outside from VMs.
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const TRANSFERS = fileURLToPath(new URL("transfers.py", import.meta.url));
const FTP = { protocol: "tcp", port: 21, helper: "ftp" };
const TFTP = { protocol: "udp", port: 69, helper: "tftp" };

describe.skipIf(Lab.missing().length > 0)("conntrack helpers", () => {
  let cloud: Cloud;
  let inside: Net;
  let outside: Net;
  let router: Resource;
  let group: Resource;
  let gateway: string;
  /** Inside, and outside. */
  let a: Instance;
  let b: Instance;
  let x: Instance;
  /** Of what the servers serve. */
  let content: string;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "helpers", hypervisors: 3, host: (n) => ({ gateway: n === 3 }), flags: ["--audit-interval", "1"] });
    outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    x = await cloud.instance(cloud.hv(2), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }], port_security_enabled: false } });
    await x.vm.configure("addr add 203.0.113.9/24 dev eth0");
    inside = await cloud.network("10.0.0.0/24");
    router = await cloud.router([inside]);
    const { external_gateway_info: info } = await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id } });
    gateway = (info as { external_fixed_ips: { ip_address: string }[] }).external_fixed_ips[0]!.ip_address;
    group = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4" });
    // One whose connections its own port keeps, and one of which nobody but the router keeps any.
    const vm = (ip_address: string, port: Record<string, unknown>) => cloud.instance(cloud.hv(1), inside, { port: { fixed_ips: [{ ip_address }], ...port } });
    [a, b] = [await vm("10.0.0.5", { security_groups: [group.id] }), await vm("10.0.0.6", { port_security_enabled: false, security_groups: [] })];
    await cloud.synced();
    await until("an answer from outside", () => a.vm.reaches(x.ip), { timeoutMs: 20_000 });
    const direct = await serve(x.vm, "ftp");
    content = await fetched(x.vm, ["--disable-epsv", `ftp://${x.ip}/file`]);
    await direct.stop();
    expect(content).toMatch(/^200000 /);
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function serve(vm: Guest, what: "ftp" | "tftp", port = 69): Promise<{ readonly lines: readonly string[]; stop(): Promise<void> }> {
    const running = vm.spawn(["python3", TRANSFERS, what, ...(what === "tftp" ? [String(port)] : [])]);
    await running.waitFor(/listening/);
    return { lines: running.lines, stop: async () => { await running.stop("SIGKILL"); } };
  }
  /** Length and hash of what curl got, or why it got nothing. */
  async function fetched(vm: Guest, args: readonly string[]): Promise<string> {
    const file = `${cloud.lab.dir}/${vm.name}.fetched`;
    const { exitCode, stderr } = await vm.exec(["curl", "-sS", "--max-time", "6", "-o", file, ...args], { allowFailure: true, timeoutMs: 20_000 });
    if (exitCode !== 0) return `curl: ${stderr.trim()}`;
    const { stdout } = await vm.exec(["python3", "-c", "import hashlib,sys; d=open(sys.argv[1],'rb').read(); print(len(d), hashlib.sha256(d).hexdigest())", file]);
    return stdout.trim();
  }
  const active = (ip: string): string[] => ["--disable-eprt", "--ftp-port", "-", `ftp://${ip}/file`];
  /** As the answer to PASV says, not as the control connection has it. */
  const passive = (ip: string): string[] => ["--disable-epsv", "--no-ftp-skip-pasv-ip", `ftp://${ip}/file`];

  async function help(values: Record<string, unknown>): Promise<() => Promise<void>> {
    const answer = await cloud.call("POST", `/v2.0/routers/${router.id}/conntrack_helpers`, { conntrack_helper: values });
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    await cloud.synced();
    const { id } = (answer.body as unknown as { conntrack_helper: Resource }).conntrack_helper;
    return async () => {
      expect((await cloud.call("DELETE", `/v2.0/routers/${router.id}/conntrack_helpers/${id}`)).status).toBe(204);
      await cloud.synced();
    };
  }
  /** A control connection; `say` answers with what the server says next. */
  async function session(vm: Guest, ip: string): Promise<{ say(line: string): Promise<string>; readonly running: Running }> {
    const running = vm.spawn(["python3", TRANSFERS, "session", ip]);
    await running.waitFor(/^220/);
    const say = async (line: string): Promise<string> => {
      const before = running.lines.length;
      running.child.stdin?.write(`${line}\n`);
      return until(`an answer to ${line}`, () => running.lines[before] ?? "", { timeoutMs: 3000 }).catch(() => "nothing");
    };
    return { running, say };
  }

  test("active FTP from behind a gateway: the server calls back, as the client asked; without a helper it cannot", async () => {
    const server = await serve(x.vm, "ftp");
    expect(await fetched(a.vm, active(x.ip)), "without").toMatch(/^curl/);
    const gone = await help(FTP);
    expect(await fetched(a.vm, active(x.ip))).toBe(content);
    const asked = server.lines.filter((l) => l.includes("PORT")).at(-1)!;
    expect(asked).toContain(gateway.replaceAll(".", ","));
    expect(server.lines.filter((l) => l.startsWith("data from")).at(-1)).toBe(`data from ${x.ip} 20: ${gateway}`);
    // Again, and several on one control connection: lengths of what is said differ from what arrives.
    expect(await fetched(a.vm, [...active(x.ip), "-o", "/dev/null", `ftp://${x.ip}/again`])).toBe(content);
    expect(await fetched(a.vm, passive(x.ip))).toBe(content);
    expect(await Promise.all([a, b].map(({ vm }) => fetched(vm, active(x.ip))))).toEqual([content, content]);
    await gone();
    expect(await fetched(a.vm, active(x.ip)), "without again").toMatch(/^curl/);
    expect(await fetched(a.vm, passive(x.ip)), "passive needs none").toBe(content);
    await server.stop();
    expect(await cloud.differences()).toBe("");
  }, 90_000);

  test("TFTP from behind a gateway: the server answers from another port", { tags: "long", timeout: 90_000 }, async () => {
    const server = await serve(x.vm, "tftp");
    expect(await fetched(a.vm, [`tftp://${x.ip}/file`]), "without").toMatch(/^curl/);
    const gone = await help(TFTP);
    expect(await fetched(a.vm, [`tftp://${x.ip}/file`])).toBe(content);
    expect(await Promise.all([a, b].map(({ vm }) => fetched(vm, [`tftp://${x.ip}/file`])))).toEqual([content, content]);
    expect(server.lines.filter((l) => l === `${gateway} has it`)).toHaveLength(3);
    await gone();
    await server.stop();
    const elsewhere = await serve(x.vm, "tftp", 6969);
    const goneToo = await help({ ...TFTP, port: 6969 });
    expect(await fetched(a.vm, [`tftp://${x.ip}:6969/file`])).toBe(content);
    await goneToo();
    expect(await fetched(a.vm, [`tftp://${x.ip}:6969/file`]), "without again").toMatch(/^curl/);
    await elsewhere.stop();
  });

  test.each(["floating IP", "forwarded port"])("a server behind a %s, passive and active", { tags: "long", timeout: 90_000 }, async (by) => {
    const server = await serve(a.vm, "ftp");
    const floating = await cloud.create("floatingip", { floating_network_id: outside.network.id, ...(by === "floating IP" && { port_id: a.port.id }) });
    const ip = floating.floating_ip_address as string;
    const files = await serve(a.vm, "tftp");
    const forwardings: string[] = [];
    for (const [protocol, port] of by === "forwarded port" ? ([["tcp", 21], ["udp", 69]] as const) : []) {
      const answer = await cloud.call("POST", `/v2.0/floatingips/${floating.id}/port_forwardings`, { port_forwarding: { protocol, internal_port_id: a.port.id, internal_ip_address: a.ip, internal_port: port, external_port: port } });
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
      forwardings.push((answer.body as unknown as { port_forwarding: Resource }).port_forwarding.id);
    }
    await until("it is there", async () => (await cloud.show("floatingip", floating.id)).status === "ACTIVE", { timeoutMs: 10_000 });
    await until("the server answers", () => x.vm.connectTcp(ip, 21), { timeoutMs: 10_000 });
    expect(await fetched(x.vm, passive(ip)), "without").toMatch(/^curl/);
    const [gone, goneToo] = [await help(FTP), await help(TFTP)];
    expect(await fetched(x.vm, passive(ip))).toBe(content);
    expect(await fetched(x.vm, active(ip))).toBe(content);
    expect(await fetched(x.vm, [`tftp://${ip}/file`])).toBe(content);
    expect(server.lines.filter((l) => l.startsWith("data from")).at(-1)).toBe(`data from ${a.ip} 20: ${x.ip}`);
    // Who calls its own router's address from inside.
    expect(await fetched(b.vm, passive(ip))).toBe(content);
    await gone();
    await goneToo();
    expect(await fetched(x.vm, passive(ip)), "without again").toMatch(/^curl/);
    for (const forwarding of forwardings) expect((await cloud.call("DELETE", `/v2.0/floatingips/${floating.id}/port_forwardings/${forwarding}`)).status).toBe(204);
    await cloud.remove("floatingip", floating.id);
    await cloud.synced();
    await server.stop();
    await files.stop();
    expect(await cloud.differences()).toBe("");
  });

  test("who names somebody else's address opens nothing; what is opened is for the server alone", async () => {
    const server = await serve(x.vm, "ftp");
    const gone = await help(FTP);
    const port = 7000;
    const named = (ip: string): string => `PORT ${ip.replaceAll(".", ",")},${Math.floor(port / 256)},${port % 256}`;
    const [there, here] = [await b.vm.listen(port), await a.vm.listen(port)];
    const heard = await b.vm.tcpdump(`tcp port ${port}`);
    const control = await session(a.vm, x.ip);
    const from = async (own: string): Promise<boolean> => {
      const { exitCode } = await x.vm.exec(["python3", "-c", `import socket; socket.create_connection(("${gateway}", ${port}), 1.5, ("${own}", 0)).close()`], { allowFailure: true });
      return exitCode === 0;
    };
    expect(await control.say(named(b.ip))).toBe("nothing");
    expect(await from(x.ip), "for another VM").toBe(false);
    await control.running.stop("SIGKILL");
    const own = await session(a.vm, x.ip);
    expect(await own.say(named(a.ip))).toMatch(/^200/);
    expect(await from("203.0.113.9"), "by somebody else").toBe(false);
    expect(await from(x.ip), "by the server").toBe(true);
    expect((await heard.stop()).lines).toEqual([]);
    await own.running.stop("SIGKILL");
    for (const listening of [there, here]) await listening.close();
    await gone();
    await server.stop();
  }, 60_000);

  test("a helper that goes away: open control connections go on, and nothing is let in for them; others are not read", async () => {
    const server = await serve(x.vm, "ftp");
    const gone = await help(FTP);
    const control = await session(a.vm, x.ip);
    expect(await control.say("PORT 10,0,0,5,27,88")).toMatch(/^200/);
    expect(server.lines.at(-1)).toContain(`${gateway.replaceAll(".", ",")},27,88`);
    await gone();
    for (let n = 0; n < 3; n++) expect(await control.say("NOOP")).toMatch(/^200/);
    expect(await control.say("PORT 10,0,0,5,27,89")).toMatch(/^200/);
    const listening = await a.vm.listen(27 * 256 + 89);
    expect(await control.say("RETR file")).toMatch(/^150/);
    await until("the server gave up", () => Promise.resolve(control.running.lines.some((l) => l.startsWith("425"))), { timeoutMs: 8000 });
    await listening.close();
    await control.running.stop("SIGKILL");
    const later = await session(a.vm, x.ip);
    expect(await later.say("PORT 10,0,0,5,27,90")).toMatch(/^200/);
    expect(server.lines.at(-1)).toContain("PORT 10,0,0,5,27,90");
    await later.running.stop("SIGKILL");
    await server.stop();
  }, 60_000);

  test("security groups judge by themselves: what is to come in has to be allowed", async () => {
    const shut = await cloud.create("security_group", { name: "shut" });
    await cloud.update("port", a.port.id, { security_groups: [shut.id] });
    await cloud.synced();
    const server = await serve(x.vm, "ftp");
    const gone = await help(FTP);
    expect(await fetched(a.vm, active(x.ip))).toMatch(/^curl/);
    expect(await fetched(a.vm, passive(x.ip))).toBe(content);
    await cloud.create("security_group_rule", { security_group_id: shut.id, direction: "ingress", ethertype: "IPv4", protocol: "tcp", remote_ip_prefix: `${x.ip}/32` });
    await cloud.synced();
    expect(await fetched(a.vm, active(x.ip))).toBe(content);
    await gone();
    await server.stop();
    await cloud.update("port", a.port.id, { security_groups: [group.id] });
    await cloud.synced();
  }, 60_000);
});
