// Identity is proved, not claimed: second sessions, other addresses, certificates, and what operators see of it.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import type { Chassis } from "#app";
import { identify } from "./admission.ts";
import { RefusedClaims } from "./claims.ts";
import { alternativeNames } from "./identity.ts";
import { certificates } from "./testing/certificates.ts";
import { eventually, Ovs } from "./testing/ovs.ts";
import { numbered, World, type WorldOptions } from "./testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function host(id = "hv1"): Promise<Ovs> {
  const ovs = await Ovs.start({ "system-id": id, "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  return ovs;
}

async function world(options: WorldOptions = {}): Promise<World> {
  const w = await World.start({ want: () => ({ flows: [numbered(1)] }), ...options });
  cleanup.push(() => w.stop());
  return w;
}

interface Impostor {
  readonly closed: Promise<void>;
  readonly mute: () => void;
  readonly end: () => void;
}

async function impostor(w: World, dpid: string, localAddress: string): Promise<Impostor> {
  const socket = connect({ host: "127.0.0.1", port: w.ports.openflow, localAddress });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return impersonate(socket, dpid);
}

/** What a session has to say to be taken for the switch `dpid`. It answers echo requests until it is mute. */
function impersonate(socket: Socket, dpid: string): Impostor {
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => undefined);
  let mute = false;
  let pending = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    if (mute) return;
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 8 && pending.length >= pending.readUInt16BE(2)) {
      const message = pending.subarray(0, pending.readUInt16BE(2));
      pending = pending.subarray(message.length);
      const reply = (type: number, body: Buffer): void => {
        const out = Buffer.alloc(8 + body.length);
        out.writeUInt8(4, 0);
        out.writeUInt8(type, 1);
        out.writeUInt16BE(out.length, 2);
        message.copy(out, 4, 4, 8);
        body.copy(out, 8);
        socket.write(out);
      };
      if (message[1] === 0) reply(0, Buffer.alloc(0));
      else if (message[1] === 2) reply(3, Buffer.from(message.subarray(8)));
      else if (message[1] === 5) reply(6, Buffer.concat([Buffer.from(dpid, "hex"), Buffer.alloc(16)]));
      else if (message[1] === 18 && message.readUInt16BE(8) === 0) reply(19, Buffer.alloc(8 + 1056));
      else if (message[1] === 18) reply(19, Buffer.from(message.subarray(8, 16)));
    }
  });
  cleanup.push(() => Promise.resolve(void socket.destroy()));
  return { closed, mute: () => (mute = true), end: () => socket.destroy() };
}

describe("without TLS", () => {
  test("a second session with a connected switch's id changes nothing for the first, from whichever address", async () => {
    const ovs = await host();
    const w = await world();
    await w.adopt(ovs);
    const { dpid, since, address } = w.info()!;
    for (const from of ["127.0.0.1", "127.0.0.2"]) {
      for (let n = 0; n < 3; n++) await (await impostor(w, dpid, from)).closed;
    }
    expect(w.info()).toMatchObject({ state: "connected", since, address });
    expect(w.info()!.refused).toMatchObject([{ what: "datapath id", address: "127.0.0.1", count: 3 }, { what: "datapath id", address: "127.0.0.2", count: 3 }]);
    expect(w.lines("error", "is refused")).toHaveLength(2);
    expect(w.southbound.problems().filter((p) => p.kind === "identity").map((p) => p.switches)).toEqual([["hv1"], ["hv1"]]);
    await w.confirmed(await w.desired.become(() => ({ flows: [numbered(1), numbered(2)] })));
    expect(await ovs.flows()).toHaveLength(2);
  });

  test("a session from elsewhere gets nothing while the switch is away, and none is let in while the database is", async () => {
    const ovs = await host();
    const w = await world({ config: { unknownSwitchTimeoutMs: 60_000 } });
    await w.adopt(ovs);
    const { dpid } = w.info()!;
    await ovs.stopVswitchd();
    await eventually("no switch", () => w.info()?.state === "disconnected");
    await (await impostor(w, dpid, "127.0.0.2")).closed;
    expect(w.info()!.refused).toMatchObject([{ what: "datapath id", address: "127.0.0.2", count: 1 }]);
    await ovs.stopDb();
    await eventually("no database", () => w.info()?.database === "disconnected");
    const early = [await impostor(w, dpid, "127.0.0.2"), await impostor(w, dpid, "127.0.0.1")];
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(w.info()?.state).toBe("disconnected");
    early[1]!.end();
    await ovs.startDb();
    await ovs.startVswitchd();
    await w.connected();
    await early[0]!.closed;
    expect(w.info()!.address).toContain("127.0.0.1:");
  });

  test("a switch that is connected stays so when its database goes, and vouches for where its host is", async () => {
    const ovs = await host();
    const w = await world();
    await w.adopt(ovs);
    const { since } = w.info()!;
    await ovs.vsctl("del-manager");
    await eventually("no database", () => w.info()?.database === "disconnected");
    expect(w.info()).toMatchObject({ state: "connected", since });
    expect(w.southbound.problems().map((p) => p.kind)).toContain("database_disconnected");
    await w.confirmed(await w.desired.become(() => ({ flows: [numbered(1), numbered(3)] })));
    expect(await ovs.flows()).toHaveLength(2);
    await ovs.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
    await w.connected();
    expect(w.info()).toMatchObject({ since, refused: [] });
  });

  test("one that comes back is let in once the old session has failed its echo", async () => {
    const ovs = await host();
    const w = await world({ config: { probeTimeoutMs: 300 } });
    await w.adopt(ovs);
    const { dpid } = w.info()!;
    // The real switch is away; one of ours has its place from the same address, falls silent, and the real one comes back.
    await ovs.vsctl("set-controller", "br-int", "tcp:127.0.0.1:1"); // set back at once, but the session is over
    await eventually("another session", () => w.info()?.state === "connected");
    await ovs.stopVswitchd();
    await eventually("no switch", () => w.info()?.state === "disconnected");
    const silent = await impostor(w, dpid, "127.0.0.1");
    await eventually("its session", () => w.info()?.address !== "");
    silent.mute();
    await ovs.startVswitchd();
    const { address: before } = w.info()!;
    await silent.closed;
    await w.connected();
    expect(await ovs.flows()).toHaveLength(1);
    expect(w.lines("warn", "gives way").map(({ fields }) => [fields["before"], fields["address"]])).toEqual([[before, w.info()!.address]]);
    const [told] = w.southbound.problems().filter((p) => p.kind === "takeover");
    expect(told).toMatchObject({ switches: ["hv1"] });
    expect(told!.text).toContain(`${w.info()!.address} has the datapath id of hv1 now, in the place of ${before}`);
  });

  test("warns of listeners that others reach, and says so as a problem", async () => {
    const w = await world({ config: { openflow: { host: "0.0.0.0", port: 0 } } });
    expect(w.lines("warn", "without TLS")).toHaveLength(1);
    expect(w.southbound.problems()).toMatchObject([{ kind: "plain_tcp", severity: "info", switches: [] }]);
    const inside = await world();
    expect(inside.lines("warn")).toEqual([]);
    expect(inside.southbound.problems()).toEqual([]);
  });
});

describe("with TLS", () => {
  test("a certificate of the CA is good for the system-ids that it names, and for no other host's switch", async () => {
    const dir = await mkdtemp(path.join(tmpdir(), "axion-pki-"));
    cleanup.push(() => rm(dir, { recursive: true, force: true }));
    await certificates(dir, "ca", ["controller", "hv1", "hv2", "lab-host DNS:hv3", "lab-host2 URI:hv4"]);
    const pem = (name: string): Promise<Buffer> => readFile(`${dir}/${name}`);
    const w = await world({ config: { tls: { cert: await pem("controller.pem"), key: await pem("controller.key"), ca: await pem("ca.pem") }, handshakeTimeoutMs: 2000 } });
    const connectAs = async (ovs: Ovs, certificate: string): Promise<void> => {
      await ovs.vsctl("set-ssl", `${dir}/${certificate}.key`, `${dir}/${certificate}.pem`, `${dir}/ca.pem`);
      await ovs.vsctl("set-manager", `ssl:127.0.0.1:${w.ports.ovsdb}`);
    };
    const first = await host("hv1");
    await connectAs(first, "hv2");
    await eventually("the line", () => w.lines("error", "its certificate names hv2").length === 1);
    expect(w.southbound.switches()).toEqual([]);
    expect(w.southbound.problems().filter((p) => p.kind !== "certificate_expires").map((p) => [p.kind, p.switches])).toEqual([["identity", ["hv1"]]]);
    await connectAs(first, "hv1");
    await w.connected("hv1", 25_000);
    // They are made for two days.
    expect(w.southbound.problems().filter((p) => p.kind === "certificate_expires").map((p) => [p.severity, p.switches, /^the certificate of (.*) expires at 2\S+Z, in [12] day/.exec(p.text)?.[1]])).toEqual([["error", [], "the controller"], ["error", ["hv1"], "hv1"]]);
    for (const [id, certificate] of [["hv3", "lab-host"], ["hv4", "lab-host2"]] as const) {
      const ovs = await host(id);
      await connectAs(ovs, certificate);
      await w.connected(id);
    }
    expect(w.info()!.refused).toEqual([]);

    // hv2's certificate is of the CA, but does not make it hv1's switch.
    const socket = connectTls({ host: "127.0.0.1", port: w.ports.openflow, rejectUnauthorized: false, cert: await pem("hv2.pem"), key: await pem("hv2.key") });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    const { closed } = impersonate(socket, w.info()!.dpid);
    await closed;
    await eventually("the refusal", () => w.info()!.refused.length === 1);
    expect(w.info()).toMatchObject({ state: "connected", refused: [{ what: "datapath id", address: "127.0.0.1", count: 1 }] });
  });
});

test("names of a certificate are read from between the others, and from nothing that only looks like one", () => {
  expect(alternativeNames("DNS:hv1, IP Address:192.0.2.1, URI:hv2")).toEqual(["hv1", "hv2"]);
  expect(alternativeNames(String.raw`DirName:"CN=x, DNS:hv9", DNS:hv1`)).toEqual(["hv1"]);
  expect(alternativeNames(String.raw`URI:"a, DNS:hv9 \" b", DNS:hv1`)).toEqual(['a, DNS:hv9 " b', "hv1"]);
  expect(alternativeNames(String.raw`email:"never closed, DNS:hv9`)).toEqual([]);
  expect(alternativeNames("")).toEqual([]);
});

test("who a session is, from what is known of the hosts", () => {
  const row = (id: string): Chassis => ({ id }) as Chassis;
  const at = (addresses: Record<string, string>) => (id: string): string | undefined => addresses[id];
  const plain = { address: "10.0.0.1", names: undefined };
  const named = (...names: string[]) => ({ address: "10.0.0.1", names });
  const rows = [row("hv1"), row("hv2")];
  expect(identify(plain, [], at({}))).toBeUndefined();
  expect(identify(plain, rows, at({ hv1: "10.0.0.9", hv2: "10.0.0.1" }))).toEqual({ result: "proved", chassis: rows[1] });
  expect(identify(plain, rows, at({ hv1: "10.0.0.9" }))).toEqual({ result: "wait", chassis: rows[1] });
  expect(identify(plain, rows, at({ hv1: "10.0.0.9", hv2: "10.0.0.8" }))).toMatchObject({ result: "refuse", chassis: rows[0] });
  expect(identify(named("hv2"), rows, at({ hv1: "10.0.0.1" }))).toEqual({ result: "proved", chassis: rows[1] });
  expect(identify(named("HV1", "*"), rows, at({ hv1: "10.0.0.1" }))).toMatchObject({ result: "refuse", chassis: rows[0] });
});

test("a takeover is told with both addresses until it is over, longer if another host came", () => {
  const lines: unknown[] = [];
  let now = 0;
  const claims = new RefusedClaims({ warn: (fields: unknown) => void lines.push(fields) } as never, () => now);
  claims.replaced("hv1", "datapath id", "10.0.0.1:2", "10.0.0.1:1");
  claims.replaced("hv2", "system-id", "10.0.0.9:2", "10.0.0.2:1");
  claims.replaced("hv2", "system-id", "10.0.0.2:5", "10.0.0.9:2");
  expect(lines).toHaveLength(3);
  expect([...claims.takeovers()]).toMatchObject([{ chassis: "hv1", address: "10.0.0.1:2", before: "10.0.0.1:1", count: 1 }, { chassis: "hv2", what: "system-id", count: 2 }]);
  now = 60_001;
  expect([...claims.takeovers()].map((t) => t.chassis)).toEqual(["hv2"]);
  now = 600_001;
  expect([...claims.takeovers()]).toEqual([]);
  for (let n = 0; n < 2000; n++) claims.replaced(`x${n}`, "system-id", "10.0.0.1:1", "10.0.0.2:1");
  expect([...claims.takeovers()]).toHaveLength(1024);
  claims.forget("x1999");
  expect([...claims.takeovers()]).toHaveLength(1023);
});

test("what was refused is bounded, counted, and forgotten when it is over", () => {
  const lines: unknown[] = [];
  let now = 0;
  const claims = new RefusedClaims({ error: (fields: unknown) => void lines.push(fields) } as never, () => now);
  for (let n = 0; n < 100; n++, now++) claims.refuse("hv1", "datapath id", `10.0.0.${n}`, "why");
  expect(claims.of("hv1").map((c) => c.address)).toEqual(Array.from({ length: 16 }, (_, i) => `10.0.0.${84 + i}`));
  for (let n = 0; n < 2000; n++) claims.refuse(`x${n}`, "system-id", "10.0.0.1", "why");
  expect([...claims.all()]).toHaveLength(1024);
  now += 600_001;
  expect([...claims.all()]).toEqual([]);
  const before = lines.length;
  for (let n = 0; n < 5; n++) claims.refuse("x1999", "system-id", "10.0.0.1", "why");
  expect(lines.length - before).toBe(1);
  expect(claims.of("x1999")).toMatchObject([{ count: 5 }]);
  claims.accepted("x1999", "system-id", "10.0.0.1");
  expect(claims.of("x1999")).toEqual([]);
});
