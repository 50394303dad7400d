// Three controllers as processes on one store in three etcd, written to by clients at all of them: what one answers holds for all, also while
// controllers and etcd's leader are killed. No switches.
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { exec } from "../../../lab/exec.ts";
import { ControllerProcess, nightly, type HttpAnswer } from "../../support/process.ts";

const CONTROLLERS = 3;
const CLIENTS = 32;
const PORTS = nightly ? 10_000 : 240;
const WRITES = nightly ? 10_000 : 300;
const KILLS = nightly ? 60 : 2;

interface Shown {
  readonly id: string;
  readonly name: string;
  readonly "provider:segmentation_id"?: number;
  readonly fixed_ips?: readonly { readonly ip_address: string }[];
}

let etcd: EtcdServer;
let controllers: ControllerProcess[] = [];
const at = (i: number): ControllerProcess => controllers[i % CONTROLLERS]!;

/** Which member of etcd leads; undefined: none, or it is not known. */
async function leader(): Promise<number | undefined> {
  const leads = await Promise.all(etcd.endpoints.map(async (endpoint) => {
    const client = new EtcdClient({ endpoints: [endpoint] });
    try {
      const { leader: id, header } = await client.status({ timeoutMs: 1000 });
      return id !== 0n && id === header!.member_id;
    } catch {
      return false;
    } finally {
      client.close();
    }
  }));
  const found = leads.indexOf(true);
  return found < 0 ? undefined : found;
}

/** Until everybody can be written to, and has a lease of which everybody knows. */
async function together(): Promise<void> {
  for (const controller of controllers) {
    for (;;) {
      const { lease, members } = (await controller.ops("/cluster")).body as { lease: boolean; members: { state: string }[] };
      if (lease && members.filter(({ state }) => state === "serving").length === CONTROLLERS && (await controller.ops("/readyz")).status === 200) break;
      await sleep(50);
    }
  }
}

const newest = async (): Promise<number> => Math.max(...(await Promise.all(controllers.map(async (c) => Number((await c.api("GET", "/v2.0/networks?limit=1")).headers["x-axion-generation"])))));

/** What every controller shows of a collection once all have heard of the same, which has to be one. */
async function everywhere(path: string): Promise<readonly Shown[]> {
  const generation = await newest();
  const lists = await Promise.all(controllers.map(async (controller) => {
    const answer = await controller.api("GET", `/v2.0/${path}`, undefined, { "x-axion-min-generation": String(generation) });
    expect(answer.status, answer.text).toBe(200);
    const [list] = Object.values(answer.body as Record<string, Shown[]>);
    return list!.sort((a, b) => (a.id < b.id ? -1 : 1));
  }));
  for (const list of lists) expect(list).toEqual(lists[0]);
  return lists[0]!;
}

describe.skipIf(!haveEtcd)("three controllers on one store", () => {
  beforeAll(async () => {
    etcd = await EtcdServer.start({ members: 3 });
    const client = new EtcdClient({ endpoints: etcd.endpoints });
    await etcd.untilReady(() => client.range({ key: "ready" }));
    client.close();
    const flags = ["--store", `etcd://${etcd.endpoints.join(",")}/cloud`];
    // All at once on a store that is not there yet.
    controllers = await Promise.all(Array.from({ length: CONTROLLERS }, (_, i) => ControllerProcess.start({ flags: [...flags, "--name", `c${i}`] })));
  }, 120_000);
  afterAll(async () => {
    await Promise.all(controllers.map((controller) => controller.destroy()));
    await etcd?.stop();
  });

  const answers = (list: readonly HttpAnswer[]): number[] => list.map(({ status }) => status).sort();

  test("what one answers the others show; what cannot be twice is not, whoever is asked; each tells the same history", { timeout: 60_000 }, async () => {
    const network = await at(0).create("network", { name: "shared" });
    // A subnet by the next one, as soon as the first has answered: it may not have heard of the network.
    const generation = String(await newest());
    const made = await at(1).api("POST", "/v2.0/subnets", { subnet: { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" } }, { "x-axion-min-generation": generation });
    expect(made.status, made.text).toBe(201);
    const shown = await at(2).api("GET", `/v2.0/subnets/${(made.body as { subnet: Shown }).subnet.id}`, undefined, { "x-axion-min-generation": String(made.headers["x-axion-generation"]) });
    expect([shown.status, Number(shown.headers["x-axion-generation"]) >= Number(made.headers["x-axion-generation"])]).toEqual([200, true]);
    expect((await at(2).api("GET", "/v2.0/networks", undefined, { "x-axion-min-generation": "soon" })).status).toBe(400);

    // One address, asked for at all of them at once.
    const port = (ip: string): object => ({ port: { network_id: network.id, fixed_ips: [{ ip_address: ip }] } });
    for (const ip of ["10.0.0.50", "10.0.0.51", "10.0.0.52"]) expect(answers(await Promise.all(controllers.map((c) => c.api("POST", "/v2.0/ports", port(ip))))), ip).toEqual([201, 409, 409]);
    // A quota, filled from all sides.
    expect((await at(0).api("PUT", "/v2.0/quotas/few", { quota: { network: 5 } })).status).toBe(200);
    await everywhere("networks");
    const few = await Promise.all(Array.from({ length: 15 }, (_, i) => at(i).api("POST", "/v2.0/networks", { network: { name: `few${i}` } }, { "x-project-id": "few", "x-roles": "member" })));
    expect(answers(few)).toEqual([...Array<number>(5).fill(201), ...Array<number>(10).fill(409)]);
    // A network that goes while ports come: one of both, and nothing of the other.
    for (let round = 0; round < 4; round++) {
      const { id } = await at(round).create("network", { name: `going${round}` });
      await everywhere("networks");
      const [gone, ...ports] = await Promise.all([at(round).api("DELETE", `/v2.0/networks/${id}`), ...[1, 2].map((i) => at(round + i).api("POST", "/v2.0/ports", { port: { network_id: id } }))]);
      const left = (await everywhere(`ports?network_id=${id}`)).length;
      expect([gone.status, left, ...answers(ports)]).toEqual(gone.status === 204 ? [204, 0, 404, 404] : [409, ports.filter(({ status }) => status === 201).length, ...answers(ports)]);
    }
    const vnis = (await everywhere("networks")).map((row) => row["provider:segmentation_id"]);
    expect(new Set(vnis).size).toBe(vnis.length);
    // A plan is of the controller that made it.
    const plan = { network: { name: "planned" } };
    const planned = await at(0).api("POST", "/v2.0/networks?plan=1", plan);
    const token = { "x-axion-plan": (planned.body as { token: string }).token };
    expect((await at(1).api("POST", "/v2.0/networks", plan, token)).body).toMatchObject({ NeutronError: { type: "PlanNotFound" } });
    expect((await at(0).api("POST", "/v2.0/networks", plan, token)).status).toBe(201);

    await everywhere("networks");
    const past = await Promise.all(controllers.map(async (c) => (await c.ops("/history?limit=1000")).body as readonly object[]));
    expect(past[0]!.length).toBeGreaterThan(20);
    for (const one of past) expect(one).toEqual(past[0]);
    const receipts = await Promise.all(controllers.map(async (c) => (await c.ops(`/receipts/${String(made.headers["x-axion-generation"])}`)).body as { call: string }));
    expect(receipts.map(({ call }) => call)).toEqual(controllers.map(() => "POST /v2.0/subnets"));
  });

  test("one with other apps is refused, is no member, and says which", { timeout: 60_000 }, async () => {
    const { exitCode, stdout, stderr } = await exec([process.execPath, `${repositoryRoot()}/dist/src/main.js`, "--store", `etcd://${etcd.endpoints.join(",")}/cloud`, "--name", "other", "--disable-app", "dhcp"], { allowFailure: true, timeoutMs: 50_000 });
    expect([exitCode, `${stdout}${stderr}`]).toEqual([2, expect.stringMatching(/the controller c\d of this cluster runs other apps: it runs dhcp, .*this one does not\./)]);
    const { members } = (await at(0).ops("/cluster")).body as { members: { name: string }[] };
    expect(members.map(({ name }) => name)).not.toContain("other");
  });

  test("a shadow on the same store is no member, has no lease, answers what is read, and writes nothing", { timeout: 60_000 }, async () => {
    await at(0).create("network", { name: "shadowed" });
    await everywhere("networks");
    const theirs = (await at(0).api("GET", "/v2.0/networks?sort_key=id&sort_dir=asc")).body as unknown;
    const client = new EtcdClient({ endpoints: etcd.endpoints });
    onTestFinished(() => client.close());
    const keys = async (): Promise<string[]> => (await client.range({ key: "cloud/", range_end: "cloud0" })).kvs.map(({ key, mod_revision }) => `${key.toString()} ${mod_revision}`);
    // Who stands still writes nothing: what is written meanwhile is the shadow's.
    for (const { pid } of controllers) process.kill(pid, "SIGSTOP");
    try {
      while ((await keys()).some((key) => key.includes("/up/"))) await sleep(50);
      const before = await keys();
      expect(before.length).toBeGreaterThan(2);
      // Of the name of one of them, as it has its settings.
      const shadow = await ControllerProcess.start({ flags: ["--store", `etcd://${etcd.endpoints.join(",")}/cloud`, "--name", "c0", "--shadow"] });
      try {
        expect((await shadow.api("GET", "/v2.0/networks?sort_key=id&sort_dir=asc")).body).toEqual(theirs);
        const refused = await shadow.api("POST", "/v2.0/networks", { network: { name: "no" } });
        expect([refused.status, refused.text.includes("shadow")]).toEqual([503, true]);
        expect(((await shadow.ops("/cluster")).body as { members: unknown[] }).members).toEqual([]);
        expect(await keys()).toEqual(before);
        expect(await shadow.stop()).toBe(0);
      } finally {
        await shadow.destroy();
      }
      expect(await keys()).toEqual(before);
    } finally {
      for (const { pid } of controllers) process.kill(pid, "SIGCONT");
    }
    await together();
  });

  test(`${PORTS} ports by ${CLIENTS} clients over all of them into one /16: no address twice, and none of them starves`, { timeout: 60_000 + PORTS * 100 }, async () => {
    const network = await at(0).create("network", { name: "wide" });
    await at(0).create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.1.0.0/16" });
    await everywhere("subnets");
    const acknowledged = new Map<string, string>();
    const share = Array<number>(CONTROLLERS).fill(0);
    let next = 0;
    await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
      while (next < PORTS) {
        const n = next++;
        const answer = await at(client).api("POST", "/v2.0/ports", { port: { network_id: network.id, name: `p${n}` } });
        expect(answer.status, answer.text).toBe(201);
        const { id, fixed_ips } = (answer.body as { port: Shown }).port;
        acknowledged.set(id, fixed_ips![0]!.ip_address);
        share[client % CONTROLLERS]!++;
      }
    }));
    expect(acknowledged.size).toBe(PORTS);
    expect(new Set(acknowledged.values()).size).toBe(PORTS);
    const there = await everywhere(`ports?network_id=${network.id}`);
    expect(new Map(there.map(({ id, fixed_ips }) => [id, fixed_ips![0]!.ip_address]))).toEqual(new Map([...acknowledged].sort(([a], [b]) => (a < b ? -1 : 1))));
    // Clients go on as soon as they are answered: whoever is answered late has fewer.
    for (const [i, count] of share.entries()) expect(count, `by ${i} of ${share.join(", ")}`).toBeGreaterThan(PORTS / CONTROLLERS / 5);
  });

  test("what takes long to decide comes about as well, though others write without end", { timeout: 120_000 }, async () => {
    const network = await at(0).create("network", { name: "bulk" });
    await at(0).create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.2.0.0/16" });
    await everywhere("subnets");
    let going = true;
    let others = 0;
    const clients = Array.from({ length: 6 }, async (_, client) => {
      for (; going; others++) expect((await at(1 + (client % 2)).api("POST", "/v2.0/ports", { port: { network_id: network.id } })).status).toBe(201);
    });
    const bulk = at(0).api("POST", "/v2.0/ports", { ports: Array.from({ length: 200 }, () => ({ network_id: network.id })) }).finally(() => (going = false));
    const [answer] = await Promise.all([bulk, ...clients]);
    expect(answer.status, answer.text).toBe(201);
    const there = await everywhere(`ports?network_id=${network.id}`);
    expect(new Set(there.map(({ fixed_ips }) => fixed_ips![0]!.ip_address)).size).toBe(200 + others);
  });

  test("without a majority of etcd each reads on, and says of writes that they are not made; with it again nothing has to be done", { timeout: 120_000 }, async () => {
    const before = await everywhere("networks?fields=id&fields=name");
    const readers = (): Promise<HttpAnswer[]> => Promise.all(controllers.map((c) => c.api("GET", "/v2.0/networks?fields=id&fields=name&sort_key=id&sort_dir=asc")));
    const write = (client: number, name: string): Promise<HttpAnswer> => at(client).api("POST", "/v2.0/networks", { network: { name } });
    const made = new Map<string, string>();
    const unmade = new Set<string>();
    for (const away of nightly ? (["kill", "freeze"] as const) : (["kill"] as const)) {
      // The leader and one more, so that the one that is left knows of none; clients write all along.
      const leads = (await leader())!;
      const gone = [leads, (leads + 1) % 3];
      const refused = Array<number>(CONTROLLERS).fill(0);
      let going = true;
      const clients = Array.from({ length: 2 * CONTROLLERS }, async (_, client) => {
        for (let n = 0; going; n++) {
          const name = `${away}-${client}-${n}`;
          const answer = await write(client, name);
          if (answer.status === 201) made.set((answer.body as { network: Shown }).network.id, name);
          else {
            expect([answer.status, answer.headers["retry-after"]], answer.text).toEqual([503, "1"]);
            const { message } = (answer.body as { NeutronError: { message: string } }).NeutronError;
            expect(message).toMatch(/^The store cannot be written now; (nothing was changed|whether the change was made is not known: look before you try again)\.$/);
            if (message.includes("nothing was changed")) unmade.add(name);
            refused[client % CONTROLLERS]!++;
          }
        }
      });
      try {
        for (const i of gone) await etcd[away](i);
        while (refused.some((count) => count < (nightly ? 10 : 2))) {
          for (const { status, body } of await readers()) {
            expect(status).toBe(200);
            const there = new Map((body as { networks: Shown[] }).networks.map(({ id, name }) => [id, name]));
            for (const { id, name } of before) expect(there.get(id)).toBe(name);
          }
          await sleep(20);
        }
        // Writes are refused before the lease has ended, which is told from then on.
        const told = async (controller: ControllerProcess): Promise<unknown> => {
          const [ready, problems, cluster] = await Promise.all([controller.ops("/readyz"), controller.ops("/problems"), controller.ops("/cluster")]);
          return [ready.status, (problems.body as { kind: string }[]).some(({ kind }) => kind === "no_lease"), (cluster.body as { lease: boolean }).lease];
        };
        for (const controller of controllers) await expect.poll(() => told(controller), { timeout: 30_000 }).toEqual([503, true, false]);
      } finally {
        for (const i of gone) {
          if (away === "kill") etcd.begin(i);
          else etcd.thaw(i);
        }
      }
      for (const controller of controllers) while ((await controller.ops("/readyz")).status !== 200) await sleep(50);
      going = false;
      await Promise.all(clients);
      for (let i = 0; i < CONTROLLERS; i++) {
        const again = await write(i, `after-${away}-${i}`);
        expect(again.status, again.text).toBe(201);
        made.set((again.body as { network: Shown }).network.id, `after-${away}-${i}`);
      }
    }
    const there = await everywhere("networks?fields=id&fields=name");
    const byId = new Map(there.map(({ id, name }) => [id, name]));
    for (const [id, name] of made) expect(byId.get(id), name).toBe(name);
    const names = there.map(({ name }) => name).filter((name) => /^(kill|freeze|after)-/.test(name));
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => unmade.has(name))).toEqual([]);
    await together();
  });

  test(`${WRITES} acknowledged writes while controllers and etcd's leader are killed ${KILLS} times: all there, none twice`, { timeout: 120_000 + KILLS * 20_000 + WRITES * 50 }, async () => {
    const acknowledged = new Map<string, string>();
    const asked = new Set<string>();
    let killing = true;
    // So many more with each kill: it comes in the midst of them, and a store that grows without end would be what restarts take their time for.
    let allowed = 0;
    const clients = Array.from({ length: 8 }, async (_, client) => {
      for (let n = 0; killing || acknowledged.size < WRITES; n++) {
        if (killing && acknowledged.size >= allowed) await sleep(500);
        const name = `k${client}-${n}`;
        asked.add(name);
        const answer = await at(client + n).api("POST", "/v2.0/security-groups", { security_group: { name } }).catch(() => undefined);
        if (answer?.status === 201) acknowledged.set((answer.body as { security_group: Shown }).security_group.id, name);
        else {
          // Its controller is gone, or the store cannot be written now; nothing else may be.
          if (answer !== undefined) expect(answer.status, answer.text).toBe(503);
          await sleep(20);
        }
      }
    });
    const killer = (async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        allowed += WRITES / KILLS;
        await sleep(nightly ? 100 + (kill * 7919) % 500 : 400);
        const victim = nightly ? kill % (CONTROLLERS + 1) : kill * CONTROLLERS;
        if (victim < CONTROLLERS) {
          await at(victim).kill9();
          await sleep(100);
          await at(victim).start();
        } else {
          const leads = await leader();
          if (leads === undefined) continue;
          await etcd.kill(leads);
          await sleep(1500);
          etcd.begin(leads);
          // A controller that is started while there is none ends.
          while ((await leader()) === undefined) await sleep(50);
        }
      }
      killing = false;
    })();
    await Promise.all([...clients, killer.finally(() => (killing = false))]);
    for (const controller of controllers) while ((await controller.ops("/readyz")).status !== 200) await sleep(50);
    expect(acknowledged.size).toBeGreaterThanOrEqual(WRITES);
    const there = (await everywhere("security-groups?fields=id&fields=name")).filter(({ name }) => asked.has(name));
    const byId = new Map(there.map(({ id, name }) => [id, name]));
    for (const [id, name] of acknowledged) expect(byId.get(id), name).toBe(name);
    // What was not acknowledged may be there, but not twice either.
    expect(new Set(byId.values()).size).toBe(there.length);
    if (!nightly) return; // who was killed has read it anew
    await at(0).kill9();
    await at(0).start();
    expect((await everywhere("security-groups?fields=id&fields=name")).filter(({ name }) => asked.has(name))).toEqual(there);
  });
});
