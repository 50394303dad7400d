// npm run bench -- NAME [flags]: each benchmark answers one question; --json prints one object a line.
import { fileURLToPath } from "node:url";
import { benchApi } from "./api.ts";
import { benchCompile } from "./compile.ts";
import { benchDump } from "./flows/dump.ts";
import { benchPast } from "./flows/past.ts";
import { benchCluster } from "./lab/cluster.ts";
import { benchDataplane } from "./lab/dataplane.ts";
import { benchHostile } from "./lab/hostile.ts";
import { benchIncremental } from "./incremental.ts";
import { benchOvsdb } from "./ovsdb.ts";
import { benchOpenflow } from "./openflow.ts";
import { benchPlan } from "./plan.ts";
import { benchQos } from "./lab/qos.ts";
import { benchServices } from "./lab/services.ts";
import { benchStore } from "./store.ts";
import { benchSwitches } from "./lab/switches.ts";
import type { Workload } from "./workload.ts";

const usage = `usage: npm run bench -- compile|incremental|plan|dump|past|switches|api|store|ovsdb|openflow|dataplane|hostile|services|qos|cluster [--tenants T] [--networks K] [--ports P] [--hosts H] [--repeats N] [--switches N] [--connections N] [--seconds S] [--flows N] [--json]

  compile      everything from nothing: flows, rules run, time, memory
  incremental  one change at a time through the API: time, rules run, flows changed, bytes sent
  plan         a change planned, and made; another caller's writes without plans and while they are made without pause
  dump         GET /flows over HTTP, of hosts that have --flows (default 1,000,000) together: flows a second beside the dump by records, memory, latency of
               another caller meanwhile; 100 tenants on 30 hosts unless it is told otherwise
  past         GET /flows?at= of 2 tenants with 30 ports a network on 4 hosts after 10,000 random changes, at --repeats (default 30) random instants: time and CPU of
               an answer, the longest turn
  switches     N real Open vSwitch switches (default 200) connect at once: time until all are in sync, memory, a restart
  api          the controller as a process with --ports (default 10,000) ports, asked by a tenant with a token: latency, requests a second, server CPU
               for each, medians of 5 rounds; --seconds (default 3) a case, --connections (default 8 and 32) in the concurrent ones. AXION_BENCH_AGAINST=<dist/src/main.js of
               another build>: in turns with that one, whose CPU and p50 are told as parts of this one's
  store        the store alone: rows written by calls that share a write, each synced; --seconds (default 3) a case; AXION_BENCH_AGAINST as above
  openflow     flow-mods and flow statistics by themselves; 100,000 flows pushed and 300,000 dumped beside ovs-ofctl; --repeats (default 9) rounds
  dataplane    TCP between two hosts (security groups, through a router, translated) beside plain bridges over the same tunnel, in turns: ratios,
               latency, flows in the datapath for each 1,000 connections; --repeats (default 25) rounds, --seconds (default 1) a transfer
  qos          how near QoS limits come to what was asked: UDP at twice the limit and TCP, both ways, of ports, a floating IP and a gateway, by iperf3; --seconds (default 8) a transfer
  services     10,000 packets a second each of DHCP, name questions, router solicitations and openings of metadata connections, and of all four, from one VM: how long two machines of another tenant,
               one on its host, wait for each of these and for a ping, what comes to the controller, its memory; --repeats (default 5) rounds, --seconds (default 6) each
  ovsdb        the OVSDB client alone: updates applied and rows read a second, heap for each row, transactions to a real ovsdb-server;
               medians of --repeats (default 5)
  hostile      every kind of hostile peer in turn beside an honest host: until a port plugged there is active (median of --repeats, default 5), how soon
               /healthz answers at worst, how long the event loop is held at most, memory at most, in MB more than before. AXION_BENCH_KINDS=<regular expression>: those kinds alone;
               AXION_BENCH_AGAINST=<dist/src/main.js of another build>: of that one
  cluster      one controller on a store of its own, then one, two and three on three members of etcd, all on this machine: API writes a second by --connections (default 32) in all,
               --seconds (default 10) each; what the slowest of them got of its share, latency, how often one came second and decided anew; how long a change of
               a port takes until the switch has its flows, asked for at its master and at another controller

Without flags: 10 tenants x 2 networks x 50 ports over 10 hosts.`;

function flags(argv: readonly string[]): { numbers: Map<string, number>; json: boolean } {
  const numbers = new Map<string, number>();
  let json = false;
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--json") json = true;
    else {
      const value = Number(argv[++i]);
      if (!/^--(tenants|networks|ports|hosts|repeats|switches|connections|seconds|flows)$/.test(arg) || !Number.isInteger(value) || value < 1) fail(`bad flag ${arg}`);
      numbers.set(arg.slice(2), value);
    }
  }
  return { numbers, json };
}

function fail(message: string): never {
  process.stderr.write(`${message}\n${usage}\n`);
  process.exit(2);
}

const [name, ...rest] = process.argv.slice(2);
if (name === "--help" || name === "-h") {
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}
const { numbers, json } = flags(rest);
const w: Workload = { tenants: numbers.get("tenants") ?? 10, networks: numbers.get("networks") ?? 2, ports: numbers.get("ports") ?? 50, hosts: numbers.get("hosts") ?? 10 };
const apps = fileURLToPath(new URL("../apps", import.meta.url));
const show = (result: object): void => {
  if (json) process.stdout.write(JSON.stringify({ bench: name, ...result }) + "\n");
  else process.stdout.write(table(result) + "\n");
};

if (name === "compile") show(await benchCompile(w, apps));
else if (name === "incremental") show(await benchIncremental(w, numbers.get("repeats") ?? 50, apps));
else if (name === "plan") show(await benchPlan(w, numbers.get("repeats") ?? 200, apps));
else if (name === "dump") show(await benchDump({ ...w, tenants: numbers.get("tenants") ?? 100, hosts: numbers.get("hosts") ?? 30 }, numbers.get("flows") ?? 1_000_000, apps));
else if (name === "past") show(await benchPast({ ...w, tenants: numbers.get("tenants") ?? 2, ports: numbers.get("ports") ?? 30, hosts: numbers.get("hosts") ?? 4 }, numbers.get("repeats") ?? 30, apps));
else if (name === "switches") show(await benchSwitches(numbers.get("switches") ?? 200, (line) => process.stderr.write(`${line}\n`)));
else if (name === "api") {
  const [connections, against] = [numbers.get("connections"), process.env.AXION_BENCH_AGAINST];
  show(await benchApi({ connections: connections === undefined ? [8, 32] : [connections], seconds: numbers.get("seconds") ?? 3, ports: numbers.get("ports") ?? 10_000, ...(against !== undefined && { against }) }));
}
else if (name === "store") {
  const against = process.env.AXION_BENCH_AGAINST;
  show(await benchStore({ seconds: numbers.get("seconds") ?? 3, ...(against !== undefined && { against }) }));
}
else if (name === "openflow") show(await benchOpenflow({ repeats: numbers.get("repeats") ?? 9, log: (line) => process.stderr.write(`${line}\n`) }));
else if (name === "dataplane") show(await benchDataplane({ repeats: numbers.get("repeats") ?? 25, seconds: numbers.get("seconds") ?? 1, log: (line) => process.stderr.write(`${line}\n`) }));
else if (name === "services") show(await benchServices({ repeats: numbers.get("repeats") ?? 5, seconds: numbers.get("seconds") ?? 6, log: (line) => process.stderr.write(`${line}\n`) }));
else if (name === "qos") show(await benchQos({ seconds: numbers.get("seconds") ?? 8, log: (line) => process.stderr.write(`${line}\n`) }));
else if (name === "ovsdb") show(await benchOvsdb({ repeats: numbers.get("repeats") ?? 5 }));
else if (name === "cluster") show(await benchCluster({ connections: numbers.get("connections") ?? 32, seconds: numbers.get("seconds") ?? 10 }));
else if (name === "hostile") {
  const [kinds, main] = [process.env.AXION_BENCH_KINDS, process.env.AXION_BENCH_AGAINST];
  show(await benchHostile({ repeats: numbers.get("repeats") ?? 5, log: (line) => process.stderr.write(`${line}\n`), ...(kinds !== undefined && { kinds: new RegExp(kinds) }), ...(main !== undefined && { main }) }));
}
else fail(name === undefined ? "which benchmark?" : `no benchmark is named ${name}`);
process.exit(0);

function table(result: object): string {
  return Object.entries(result)
    .map(([key, value]) => {
      if (!Array.isArray(value)) return `${key.padEnd(20)} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`;
      const rows = value as Record<string, unknown>[];
      const columns = Object.keys(rows[0] ?? {});
      const width = (c: string): number => Math.max(c.length, ...rows.map((r) => String(r[c]).length));
      const line = (cell: (c: string) => string): string => columns.map((c, i) => (i === 0 ? cell(c).padEnd(width(c)) : cell(c).padStart(width(c)))).join("  ");
      return [line((c) => c), ...rows.map((r) => line((c) => String(r[c])))].join("\n");
    })
    .join("\n");
}
