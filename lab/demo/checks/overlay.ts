// What the demo proves of hosts: what goes between them, and the flows that they have.

import { until } from "../../exec.ts";
import { type Outcome, Surprise } from "../report.ts";
import { some, type World } from "../world.ts";

const FILTER = { geneve: "udp port 6081", vxlan: "udp port 4789", gre: "ip proto 47 or ip6 proto 47" } as const;

/** The first line of a packet in tcpdump's output. */
const PACKET = /^\d+\.\d+ IP/;

/** Counts the packets between hosts while `body` runs. Only the wanted encapsulation carries VMs' traffic. */
export async function underlay(world: World, body: () => Promise<void>): Promise<Outcome> {
  const { lab, options } = world;
  let count = 0;
  const other: string[] = [];
  const running = lab.node.spawn(
    ["tcpdump", "-l", "-n", "-q", "-tt", "--immediate-mode", "-i", "bru", ...FILTER[options.encap].split(" ")],
    {
      onLine: (line) => {
        if (PACKET.test(line)) count++;
      },
    },
  );
  const foreign = lab.node.spawn(
    ["tcpdump", "-l", "-n", "-q", "-tt", "--immediate-mode", "-i", "bru", "net", "10.0.0.0/16"],
    {
      onLine: (line) => {
        if (PACKET.test(line)) other.push(line);
      },
    },
  );
  await Promise.all([running.waitFor(/listening on/), foreign.waitFor(/listening on/)]);
  await body();
  await Promise.all([running.stop("SIGINT"), foreign.stop("SIGINT")]);
  const rows = await Promise.all(
    world.hypervisors.map(async (hypervisor) => (await hypervisor.vsctl("--bare", "--columns=name", "find", "Interface", `type=${options.encap}`)).split("\n").filter(Boolean).length),
  );
  return {
    held: count > 0 && other.length === 0 && rows.every((number) => number > 0),
    figure: `${count} ${options.encap} packets between hosts over ${options.underlay}, ${other.length} outside of a tunnel`,
    expected: `${options.encap} packets, none outside, a tunnel port on each host`,
    ...(other.length > 0 ? { seen: some(other) } : { seen: `${count} packets, tunnel ports: ${rows.join(", ")}` }),
  };
}

interface DumpedFlow {
  readonly switch: string;
  readonly table: string;
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly match: string;
  readonly state: string;
  readonly resources: readonly { readonly id: string }[];
}

/** Every flow names its origin, and the dump is what the switches have. */
export async function flowDump(world: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const { controller, hypervisors } = world;
  const get = async (query: string): Promise<DumpedFlow[]> => {
    const answer = await controller.ops<{ flows: DumpedFlow[] }>("GET", `/flows?${query}`);
    if (answer.status !== 200) throw new Surprise(`GET /flows?${query}: 200`, `${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body.flows;
  };
  waiting("switches equal to what is desired");
  await until("an empty difference", async () => (await get("state=diff")).length === 0, { timeoutMs: 5000, intervalMs: 100 }).catch(async () => {
    throw new Surprise("no difference between desired and installed", some((await get("state=diff")).map((flow) => `${flow.switch} ${flow.table} ${flow.match} [${flow.state}]`)));
  });
  const flows = await get("state=installed");
  const nameless = flows.filter((flow) => [flow.app, flow.table, flow.rule, flow.about].some((name) => typeof name !== "string" || name === ""));
  if (nameless.length > 0) throw new Surprise("every flow names its app, table and rule", some(nameless.map((flow) => JSON.stringify(flow))));
  const counts = await Promise.all(
    hypervisors.map(async (hypervisor) => {
      const real = Number(/flow_count=(\d+)/.exec(await hypervisor.ofctl("dump-aggregate", "br-int"))?.[1]);
      return { name: hypervisor.systemId, real, dumped: flows.filter((flow) => flow.switch === hypervisor.systemId).length };
    }),
  );
  const port = world.red.guests[0]!.port.id;
  const caused = await get(`resource=${port}`);
  return {
    held: flows.length > 0 && counts.every(({ real, dumped }) => real === dumped) && caused.length > 0,
    figure: `${flows.length} flows of ${new Set(flows.map((flow) => flow.app)).size} apps in ${new Set(flows.map((flow) => flow.table)).size} tables, all named, as many as ovs-ofctl counts; port ${world.red.guests[0]!.name} caused ${caused.length}`,
    expected: "as many flows in the dump as on the switches, some of them caused by the port",
    seen: `${counts.map(({ name, real, dumped }) => `${name}: ${dumped} dumped, ${real} on the switch`).join("; ")}; of the port ${caused.length}`,
  };
}
