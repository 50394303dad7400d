// With whom a controller can be one of a cluster: by what others say, and on a real etcd.
import { EtcdClient } from "etcd-v3-client";
import { haveEtcd } from "etcd-v3-client/testing";
import { pino } from "pino";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { machineClock } from "../lib/clock.ts";
import { machineRandom } from "../lib/random.ts";
import { etcdUrl, stopEtcd } from "../store/testing/backends.ts";
import { Cluster } from "./cluster.ts";
import { refuseUnlike } from "./admission.ts";
import { recordOf } from "./member-record.ts";

const log = pino({ level: "silent" });
afterAll(stopEtcd);

const refusal = (own: { version: string; apps?: string[] }, other: { version: string; apps?: string[] }): string => {
  try {
    refuseUnlike({ name: "b", ...own }, new Map([["a", other]]));
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

test("of one version with other apps is refused, with what differs; of another version, or one that does not say, not", () => {
  expect(refusal({ version: "1", apps: ["l2", "l3"] }, { version: "1", apps: ["l2", "l3"] })).toBe("");
  expect(refusal({ version: "1", apps: ["l2"] }, { version: "1", apps: ["dhcp", "l2", "l3"] })).toContain("the controller a of this cluster runs other apps: it runs dhcp, l3, this one does not.");
  expect(refusal({ version: "1", apps: ["l2", "own"] }, { version: "1", apps: ["l2", "l3"] })).toContain("it runs l3, this one does not; this one runs own, it does not.");
  expect(refusal({ version: "2", apps: ["l2", "own"] }, { version: "1", apps: ["l2"] })).toBe("");
  expect(refusal({ version: "1", apps: ["l2"] }, { version: "1" })).toBe("");
});

test("what is no controller's is read as nothing", () => {
  const says = { id: "x", version: "1", apps: ["l2"], since: "2026-01-01T00:00:00Z", state: "serving", ovsdb: "", api: "", ops: "" };
  const read = (value: unknown): unknown => recordOf({ value: Buffer.from(typeof value === "string" ? value : JSON.stringify(value)) });
  expect(read(says)).toEqual(says);
  expect(read({ ...says, apps: undefined })).toEqual({ ...says, apps: undefined });
  for (const wrong of ["", "{", "null", "7", { ...says, apps: "l2" }, { ...says, apps: null }, { ...says, apps: [1] }, { ...says, state: "there" }, { ...says, id: 1 }, { ...says, version: "v".repeat(2 << 20) }]) expect(read(wrong)).toBeUndefined();
});

describe.skipIf(!haveEtcd)("on an etcd", () => {
  test("it is refused before it comes in, and as it does, and leaves nothing; one of its own name may have gone with other apps", { timeout: 60_000 }, async () => {
    const url = await etcdUrl();
    const options = (name: string, ...apps: string[]): Parameters<typeof Cluster.join>[0] => ({ url, etcd: {}, name, version: "1", apps, log, clock: machineClock, random: machineRandom });
    const a = await Cluster.join(options("a", "l2", "l3"));
    await a.say({ state: "serving" });
    await expect(Cluster.refuseUnlike(options("b", "l2"))).rejects.toThrow("runs l3, this one does not");
    await expect(Cluster.join(options("b", "l2"))).rejects.toThrow("runs l3, this one does not");
    const client = new EtcdClient({ endpoints: url.replace("etcd://", "").split("/")[0]!.split(",") });
    onTestFinished(() => client.close());
    const prefix = `${url.split("/").at(-1)!}/up/`;
    expect((await client.range({ key: prefix, range_end: `${prefix}~` })).kvs.map(({ key }) => key.toString())).toEqual([`${prefix}member/a`]);
    await Cluster.refuseUnlike(options("a", "l2"));
    // Under no lease: nobody's.
    const copied = (await client.range({ key: `${prefix}member/a` })).kvs[0]!.value;
    await client.put({ key: `${prefix}member/copied`, value: copied });
    await Cluster.refuseUnlike(options("a", "l2"));
    await client.deleteRange({ key: `${prefix}member/copied` });
    await a.leave();
    const b = await Cluster.join(options("b", "l2"));
    onTestFinished(() => b.leave());
    expect(b.problems().map(({ kind }) => kind)).toEqual([]);
    const later = await Cluster.join({ ...options("c", "l2", "l3"), version: "2" });
    onTestFinished(() => later.leave());
    expect(later.problems().filter(({ kind }) => kind === "member_version")).toMatchObject([{ text: expect.stringContaining("2 versions: b 1, c 2") as string }]);
  });
});
