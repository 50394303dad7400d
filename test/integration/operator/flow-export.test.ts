// IPFIX and sFlow of real switches, read from their bytes: every packet is counted once where it is sent and once where it arrives, by numbers that lead to the port.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startController } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";
import { element, FlowCollector, type FlowRecord } from "../../support/flow-collector.ts";

/** The address of the first node that a lab adds. */
const COLLECTOR = "172.30.0.253";
const PINGS = 25;
const ICMP = 1n;
/** By which these are told from pings before them; answers have it as well. */
const TOS = 0x20;

interface Point {
  readonly obs_domain_id: number;
  readonly obs_point_id: number;
  readonly switch: string;
  readonly port: string;
  readonly project: string;
}

describe.skipIf(Lab.missing().length > 0)("flow export", () => {
  let cloud: Cloud;
  let collector: FlowCollector;
  let [a, b] = [] as unknown as [Instance, Instance];
  const points = async (query: string): Promise<Point[]> => (await cloud.controller.ops<Point[]>("GET", `/ipfix?${query}`)).body;
  const packets = (records: readonly FlowRecord[], point: Point, direction: bigint): number =>
    records.filter(({ domain, values }) => domain === point.obs_domain_id && values.get(element.point) === BigInt(point.obs_point_id) && values.get(element.direction) === direction && values.get(element.protocol) === ICMP && values.get(element.tos) === BigInt(TOS))
      .reduce((sum, { values }) => sum + Number(values.get(element.packets)), 0);

  beforeAll(async () => {
    cloud = await Cloud.create({
      name: "flow-export", flags: ["--ipfix-collectors", COLLECTOR, "--ipfix-sampling", "1", "--ipfix-cache-s", "1", "--sflow-collectors", COLLECTOR, "--sflow-sampling", "1", "--sflow-polling-s", "1"],
      async connect({ lab, hypervisors }) {
        const node = await lab.addNode("collector");
        expect(node.ip).toBe(COLLECTOR);
        collector = await FlowCollector.start(node);
        for (const hv of hypervisors) await hv.setManager(lab.manager);
      },
    });
    const net = await cloud.network("10.0.0.0/24");
    [a, b] = [await cloud.instance(cloud.hv(1), net), await cloud.instance(cloud.hv(2), net)];
    await cloud.renewed();
    await until("b to answer", async () => (await a.vm.ping(b.ip, { count: 1 })).received === 1);
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  test("packets are counted by port and direction, and the numbers lead to port and project", async () => {
    const { stdout } = await a.vm.exec(["ping", "-n", "-c", String(PINGS), "-i", "0.05", "-Q", String(TOS), b.ip]);
    expect(stdout).toContain(` ${PINGS} received`);
    const [[atA], [atB]] = [await points(`port=${a.port.id}`), await points(`port=${b.port.id}`)] as [[Point], [Point]];
    expect(atA).toMatchObject({ switch: "hv1", port: a.port.id, project: "p1" });
    expect(await points(`domain=${atB.obs_domain_id}&point=${atB.obs_point_id}`)).toEqual([atB]);
    const counted = (): number[] => [atA, atB].flatMap((point) => [0n, 1n].map((direction) => packets(collector.records, point, direction)));
    await until("records", () => Promise.resolve(counted().every((n) => n >= PINGS)), { timeoutMs: 10_000 }).catch(() => undefined);
    expect(counted(), "sent by a, got by a, sent by b, got by b").toEqual([PINGS, PINGS, PINGS, PINGS]);
    // Each host sees the questions and the answers once, where they come in.
    const pings = (agent: string): number => collector.sampled.filter((s) => s.agent === agent && s.frame.readUInt16BE(12) === 0x0800 && s.frame[15] === TOS && s.frame[23] === Number(ICMP)).length;
    await until("samples", () => Promise.resolve([1, 2].every((n) => pings(cloud.hv(n).encapIp) >= 2 * PINGS))).catch(() => undefined);
    expect([1, 2].map((n) => pings(cloud.hv(n).encapIp))).toEqual([2 * PINGS, 2 * PINGS]);
    await until("counters of interfaces", () => Promise.resolve(collector.counters > 0));
    expect((await cloud.controller.ops("GET", "/ipfix?point=x")).status).toBe(400);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("without collectors nothing of it is left on hosts", async () => {
    const rows = async (n: number): Promise<string[]> => Promise.all(["IPFIX", "Flow_Sample_Collector_Set", "sFlow"].map(async (table) => (await cloud.hv(n).vsctl("--bare", "--columns=_uuid", "list", table)).trim()));
    expect((await rows(1)).every((text) => text !== "")).toBe(true);
    await cloud.controller.stop();
    await startController(cloud.lab);
    await until("rows to go", async () => (await Promise.all([rows(1), rows(2)])).flat().every((text) => text === ""), { timeoutMs: 15_000 });
    await until("flows to go", async () => !(await cloud.hv(1).ofctl("dump-flows", "br-int")).includes("sample("));
  }, 60_000);
});
