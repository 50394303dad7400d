// A controller whose store is in etcd, as a process: restarted, killed while it writes, without its etcd and with it again.
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ControllerProcess, nightly } from "../../support/process.ts";

const KILLS = nightly ? 100 : 3;
const WRITERS = 8;

let server: EtcdServer;
let controller: ControllerProcess;
describe.skipIf(!haveEtcd)("with --store etcd://", () => {
  beforeAll(async () => {
    server = await EtcdServer.start({ members: nightly ? 3 : 1 });
    const client = new EtcdClient({ endpoints: server.endpoints });
    await server.untilReady(() => client.range({ key: "ready" }));
    client.close();
    controller = await ControllerProcess.start({ flags: ["--store", `etcd://${server.endpoints.join(",")}/cloud`] });
  });
  afterAll(async () => {
    await controller?.destroy();
    await server?.stop();
  });

  const names = async (): Promise<Map<string, string>> => new Map(((await controller.api("GET", "/v2.0/networks?fields=id&fields=name")).body as { networks: { id: string; name: string }[] }).networks.map(({ id, name }) => [id, name]));
  const make = (name: string): ReturnType<ControllerProcess["api"]> => controller.api("POST", "/v2.0/networks", { network: { name } });

  test(`killed ${KILLS} times under ${WRITERS} writers, nothing acknowledged is missing, history neither`, { timeout: 60_000 + KILLS * 20_000 }, async () => {
    const acknowledged = new Map<string, { name: string; generation: number }>();
    for (let round = 0; round < KILLS; round++) {
      let running = true;
      const writers = Array.from({ length: WRITERS }, async (_, i) => {
        for (let n = 0; running; n++) {
          const name = `${round}-${i}-${n}`;
          const answer = await make(name).catch((error: unknown) => {
            if (running) throw error;
          });
          if (answer === undefined) return;
          expect(answer.status, answer.text).toBe(201);
          acknowledged.set((answer.body as { network: { id: string } }).network.id, { name, generation: Number(answer.headers["x-axion-generation"]) });
        }
      });
      // However long that takes: some are answered, and others are under way.
      for (const before = acknowledged.size; acknowledged.size < before + WRITERS; ) await sleep(5);
      await sleep((round * 7919) % 160);
      running = false;
      await Promise.all([controller.kill9(), ...writers]);
      await controller.start();
      const there = await names();
      for (const [id, { name }] of acknowledged) expect(there.get(id), `${name} after kill ${round}`).toBe(name);
    }
    expect(acknowledged.size).toBeGreaterThan(KILLS);
    const [id, { generation }] = [...acknowledged].at(-1)!;
    expect((await controller.ops(`/history/${generation}`)).body).toMatchObject({ generation, call: "POST /v2.0/networks", changes: expect.arrayContaining([expect.objectContaining({ type: "network", id })]) as unknown });
  });

  test("without etcd writes are 503 and reads go on; with it again it is as before, without a restart", { timeout: 120_000 }, async () => {
    const before = await names();
    for (const away of ["freeze", "kill"] as const) {
      for (let i = 0; i < server.endpoints.length; i++) await server[away](i);
      const answers = await Promise.all(Array.from({ length: 5 }, (_, i) => make(`lost-${i}`)));
      expect(answers.map(({ status, headers }) => [status, headers["retry-after"]])).toEqual(answers.map(() => [503, "1"]));
      expect(answers[0]!.body).toMatchObject({ NeutronError: { type: "ServiceUnavailable", message: expect.stringMatching(/^The store cannot be written now; (nothing was changed|whether .* is not known)/) as string } });
      const ready = await controller.ops("/readyz");
      expect([ready.status, ready.text.includes(server.endpoints[0]!)]).toEqual([503, true]);
      for (const [id, name] of before) expect((await names()).get(id)).toBe(name);
      for (let i = 0; i < server.endpoints.length; i++) {
        if (away === "kill") server.begin(i);
        else server.thaw(i);
      }
      while ((await controller.ops("/readyz")).status !== 200) await sleep(50);
      const again = await make(`after ${away}`);
      expect(again.status, again.text).toBe(201);
      before.set((again.body as { network: { id: string } }).network.id, `after ${away}`);
    }
    await controller.kill9();
    await controller.start();
    const there = await names();
    for (const [id, name] of before) expect(there.get(id)).toBe(name);
  });
});
