// kill -9 at any moment is a normal stop: what was acknowledged is there afterwards, whatever was being written.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { ControllerProcess, nightly } from "../../support/process.ts";

const WRITERS = 8;

let controller: ControllerProcess;
beforeAll(async () => {
  controller = await ControllerProcess.start({ flags: ["--log-level", "info"] });
});
afterAll(async () => controller?.destroy());

/** What the API said yes to: collection -> id -> name. */
type Acknowledged = Map<"networks" | "subnets" | "ports", Map<string, string>>;

/** Writes until told to stop or the connection breaks. */
async function writer(number: number, round: number, running: () => boolean, seen: Acknowledged): Promise<number> {
  const headers = { "x-project-id": `p${number}`, "x-roles": "member" };
  let written = 0;
  const post = async (kind: "network" | "subnet" | "port", values: Record<string, unknown>): Promise<string> => {
    const name = `${kind}-${round}-${number}-${written}`;
    const answer = await controller.api("POST", `/v2.0/${kind}s`, { [kind]: { name, ...values } }, headers);
    if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`);
    const { id } = (answer.body as Record<string, { id: string }>)[kind]!;
    seen.get(`${kind}s`)!.set(id, name);
    written++;
    return id;
  };
  while (running()) {
    const network = await post("network", {});
    await post("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
    for (let i = 0; i < 3 && running(); i++) await post("port", { network_id: network });
  }
  return written;
}

const FORMS = [{ kills: 5 }, { kills: nightly ? 200 : 20, tags: "long" }];
for (const { kills, ...stage } of FORMS) test(`killed ${kills} times under ${WRITERS} writers, nothing acknowledged is missing`, { ...stage, timeout: kills * 60_000 }, async () => { // three seconds each, on a machine with nothing else to do
  const seen: Acknowledged = new Map((["networks", "subnets", "ports"] as const).map((collection) => [collection, new Map<string, string>()]));
  let broken = 0;
  for (let round = 0; round < kills; round++) {
    let running = true;
    const count = (): number => [...seen.values()].reduce((sum, ids) => sum + ids.size, 0);
    // By what was acknowledged, not by time: a busy machine is slow to begin with.
    const enough = count() + 1 + ((round * 7919) % 60);
    const writers = Array.from({ length: WRITERS }, (_, i) =>
      writer(i, round, () => running, seen).catch((error: unknown) => {
        // The kill breaks connections; any answer but 201 is a failure of the test.
        if (running || !/ECONNRESET|ECONNREFUSED|socket hang up|EPIPE/.test(`${(error as NodeJS.ErrnoException).code ?? ""} ${(error as Error).message}`)) throw error;
        broken++;
      }),
    );
    await Promise.race([until(`the writes of round ${round}`, () => count() >= enough, { timeoutMs: 60_000, intervalMs: 1 }), Promise.all(writers)]);
    running = false;
    await Promise.all([controller.kill9(), ...writers]);
    await controller.start();
    expect((await controller.ops("/readyz")).status).toBe(200);
    // Every tenth time, and at the end, everything is compared; in between what this round wrote.
    const whole = round % 10 === 9 || round === kills - 1;
    for (const [collection, ids] of seen) {
      const there = new Map(((await controller.api("GET", `/v2.0/${collection}?fields=id&fields=name`)).body as Record<string, { id: string; name: string }[]>)[collection]!.map((r) => [r.id, r.name]));
      for (const [id, name] of ids) if (whole || name.includes(`-${round}-`)) expect(there.get(id), `${collection} ${name} ${id} after kill ${round}`).toBe(name);
    }
    expect(controller.logged(50), "errors in the log").toEqual([]);
  }
  const counts = Object.fromEntries([...seen].map(([collection, ids]) => [collection, ids.size]));
  console.log(`acknowledged and found after ${kills} kills: ${JSON.stringify(counts)}; ${broken} requests were cut off`);
  expect(counts.ports).toBeGreaterThan(kills);
  expect(broken, "requests that a kill cut off").toBeGreaterThan(0);
});

test("what is there is whole: every subnet's network, every port's network, subnet and address", async () => {
  const list = async (collection: string): Promise<Record<string, never>[]> => ((await controller.api("GET", `/v2.0/${collection}`)).body as Record<string, never>)[collection]!;
  const [networks, subnets, ports] = await Promise.all(["networks", "subnets", "ports"].map(list)) as unknown as [Row[], Row[], Row[]];
  const networkIds = new Set(networks.map((n) => n.id));
  const subnetIds = new Set(subnets.map((s) => s.id));
  expect(subnets.filter((s) => !networkIds.has(s.network_id))).toEqual([]);
  expect(ports.filter((p) => !networkIds.has(p.network_id) || p.fixed_ips.some((f) => !subnetIds.has(f.subnet_id)))).toEqual([]);
  const addresses = ports.flatMap((p) => p.fixed_ips.map((f) => `${p.network_id} ${f.ip_address}`));
  expect(new Set(addresses).size).toBe(addresses.length);
  const macs = ports.map((p) => `${p.network_id} ${p.mac_address}`);
  expect(new Set(macs).size).toBe(macs.length);
});

interface Row {
  readonly id: string;
  readonly network_id: string;
  readonly mac_address: string;
  readonly fixed_ips: readonly { readonly subnet_id: string; readonly ip_address: string }[];
}
