// What one machine that asks without end costs others: 10,000 packets a second each of DHCP, name questions, router solicitations and openings of TCP to the metadata service, then of all
// four, from one VM, beside as many that its switch drops at once; and how long machines of another tenant wait for these services and for a ping meanwhile, on its host and on another. Open vSwitch's userspace datapath.
import { readFile, writeFile } from "node:fs/promises";
import { startController } from "../../lab/controller.ts";
import { flood, floodKinds, type FloodKind } from "../../lab/floods/flood.ts";
import { probe, probed, type Probed, type Waits } from "../../lab/floods/probe.ts";
import { Lab } from "../../lab/lab.ts";
import type { Vm } from "../../lab/vm.ts";
import { setTimeout as sleep } from "node:timers/promises";

export interface ServicesOptions {
  /** Rounds, in each of which every flood has its turn, and none. */
  readonly repeats: number;
  /** Of each turn. */
  readonly seconds: number;
  readonly log?: (line: string) => void;
}

const places = ["near", "far"] as const;
/** What the machine on its host (near) and the one on another (far) waited for an answer, in ms: `<what>_<where>_p50` and `_p99`. */
type Row = Readonly<Record<`${Probed}_${(typeof places)[number]}_${"p50" | "p99"}`, number>> & {
  readonly flood: string;
  /** Packets a second that the machine sent. */
  readonly sent_s: number;
  /** And that came to the controller, of all machines and of probes of tunnels. */
  readonly packet_ins_s: number;
  /** At its end, at most. */
  readonly controller_mb: number;
  /** Questions; those that were answered after more than 50 ms, and those that were not in five seconds. */
  readonly asked: number;
  readonly over_50_ms: number;
  readonly lost: number;
};

const RATE = 10_000;
const PAUSE_MS = 25;
const MEMBER = { "x-roles": "admin" };

/** What is read of a resource. */
interface Made {
  readonly id: string;
  readonly mtu: number;
  readonly mac_address: string;
  readonly fixed_ips: readonly { readonly ip_address: string }[];
}
interface Machine {
  readonly vm: Vm;
  readonly mac: string;
  readonly ip: string;
}

export async function benchServices({ repeats, seconds, log = () => undefined }: ServicesOptions): Promise<{ readonly controller_mb_after: number; readonly cases: readonly Row[] }> {
  const lab = await Lab.create({ name: "bench" });
  try {
    await writeFile(`${lab.dir}/given.json`, "{}");
    const [controller, ...hosts] = await Promise.all([startController(lab, { flags: ["--metadata-file", `${lab.dir}/given.json`] }), lab.addHypervisor({ name: "hv1" }), lab.addHypervisor({ name: "hv2" })]);
    for (const hv of hosts) await hv.setManager(lab.manager);
    const machines = async (project: string, at: readonly number[]): Promise<Machine[]> => {
      const call = async (method: string, path: string, body: object): Promise<Made> => {
        const answer = await controller.api<Record<string, Made>>(method, `/v2.0/${path}`, body, { ...MEMBER, "x-project-id": project });
        if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
        return Object.values(answer.body)[0]!;
      };
      const network = await call("POST", "networks", { network: {} });
      const router = await call("POST", "routers", { router: {} });
      for (const subnet of [{ ip_version: 4, cidr: "10.0.0.0/24" }, { ip_version: 6, cidr: "fd00:5::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }]) {
        const { id } = await call("POST", "subnets", { subnet: { network_id: network.id, ...subnet } });
        await call("PUT", `routers/${router.id}/add_router_interface`, { subnet_id: id });
      }
      return Promise.all(at.map(async (host): Promise<Machine> => {
        const port = await call("POST", "ports", { port: { network_id: network.id } });
        const [mac, ip] = [port.mac_address, port.fixed_ips[0]!.ip_address];
        const vm = await lab.addVm({ name: `${project}-${host}`, hypervisor: hosts[host - 1]!, portId: port.id, mac, mtu: network.mtu });
        await vm.setAddress(`${ip}/24`, "10.0.0.1");
        return { vm, mac, ip };
      }));
    };
    const [[hostile], [near, far]] = (await Promise.all([machines("p1", [1]), machines("p2", [1, 2])])) as [[Machine], [Machine, Machine]];
    const { pid } = controller;
    const packetIns = async (): Promise<number> => [...(await controller.ops<string>("GET", "/metrics")).body.matchAll(/^axion_packet_ins_total\S* (\d+)$/gm)].reduce((n, m) => n + Number(m[1]), 0);
    const times = Math.max(2, Math.floor((seconds * 1000) / (probed.length * (PAUSE_MS + 4))));
    const ask = (): Promise<Waits[]> => Promise.all([probe(near.vm, near.mac, far.ip, times, PAUSE_MS), probe(far.vm, far.mac, near.ip, times, PAUSE_MS)]);

    interface Taken {
      sent: number;
      seconds: number;
      packetIns: number;
      mb: number;
      readonly waits: (readonly Waits[])[];
    }
    const turn = async (kinds: readonly FloodKind[], taken: Taken): Promise<void> => {
      const before = await packetIns();
      const began = performance.now();
      // Longer than is asked beside it; each kind comes from a program of its own.
      const flooding = Promise.all(kinds.map((kind) => flood(hostile.vm, hostile, [kind], RATE, seconds * 1.2 + 1)));
      await sleep(500);
      taken.waits.push(await ask());
      taken.mb = Math.max(taken.mb, await rss(pid));
      taken.sent += (await flooding).reduce((n, m) => n + m, 0);
      taken.packetIns += (await packetIns()) - before;
      taken.seconds += (performance.now() - began) / 1000;
    };
    await ask(); // what is new to caches
    const cases = [["none", []], ["dropped", ["dropped"]], ...floodKinds.map((kind) => [kind, [kind]] as const), ["all four", floodKinds]] as const;
    const all = new Map(cases.map(([name]) => [name, { sent: 0, seconds: 0, packetIns: 0, mb: 0, waits: [] }]));
    for (let round = 1; round <= repeats; round++) {
      for (const [name, kinds] of cases) await turn(kinds, all.get(name)!);
      log(`round ${round} of ${repeats}: ${await rss(pid)} MB`);
    }
    return { controller_mb_after: await rss(pid), cases: [...all].map(([name, taken]) => rowOf(name, taken)) };
  } finally {
    await lab.destroy();
  }
}

function rowOf(flood: string, { sent, seconds, packetIns, mb, waits }: { readonly sent: number; readonly seconds: number; readonly packetIns: number; readonly mb: number; readonly waits: readonly (readonly Waits[])[] }): Row {
  const times: Record<string, number> = {};
  let [asked, late, lost] = [0, 0, 0];
  for (const what of probed) {
    for (const [i, where] of places.entries()) {
      const all = waits.flatMap((both) => both[i]![what]);
      const answered = all.filter((ms) => ms !== null).sort((a, b) => a - b);
      [asked, lost, late] = [asked + all.length, lost + all.length - answered.length, late + answered.filter((ms) => ms > 50).length];
      for (const [q, part] of [["p50", 0.5], ["p99", 0.99]] as const) times[`${what}_${where}_${q}`] = Math.round((answered[Math.min(answered.length - 1, Math.floor(answered.length * part))] ?? NaN) * 10) / 10;
    }
  }
  return { flood, sent_s: Math.round(sent / seconds), packet_ins_s: Math.round(packetIns / seconds), controller_mb: mb, asked, over_50_ms: late, lost, ...times } as Row;
}

const rss = async (pid: number): Promise<number> => Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);
