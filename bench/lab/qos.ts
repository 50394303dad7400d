// How near QoS limits come to what was asked: UDP at twice the limit and TCP, both ways, between two hosts, by iperf3. Open vSwitch's userspace datapath.
import { startController } from "../../lab/controller.ts";
import { exec, until } from "../../lab/exec.ts";
import { Lab } from "../../lab/lab.ts";
import type { Vm } from "../../lab/vm.ts";

export interface QosOptions {
  /** Of each transfer, after two seconds that do not count. */
  readonly seconds: number;
  readonly log?: (line: string) => void;
}

interface Measured {
  readonly protocol: "udp" | "tcp";
  readonly direction: "egress" | "ingress";
  readonly limit_mbit: number;
  /** Of frames. */
  readonly mbit: number;
  readonly ratio: number;
}

interface Made {
  readonly id: string;
  readonly mac_address: string;
  readonly mtu: number;
  readonly fixed_ips: readonly { readonly ip_address: string }[];
}

const LIMITS_KBPS = [5000, 50_000];
/** Bytes of a datagram, and what a frame has beside: limits count frames. Of TCP the options have 12 bytes. */
const DATAGRAM = 1300;
const UDP_HEADERS = 14 + 20 + 8;
const framed = (mbit: number, protocol: "udp" | "tcp", mtu: number): number => mbit * (protocol === "udp" ? (DATAGRAM + UDP_HEADERS) / DATAGRAM : (mtu + 14) / (mtu - 20 - 20 - 12));

/** Megabits a second that came, as iperf3 counts what is in TCP or UDP. */
async function measure(from: Vm, to: Vm, ip: string, protocol: "udp" | "tcp", kbps: number, seconds: number): Promise<number> {
  const server = to.spawn(["iperf3", "-s", "-1", "--forceflush", "-p", "5201"]);
  await server.waitFor(/listening/i);
  const udp = protocol === "udp" ? ["-u", "-b", `${kbps * 2}K`, "-l", String(DATAGRAM)] : [];
  const { stdout } = await from.exec(["iperf3", "-J", "-c", ip, "-p", "5201", "-O", "2", "-t", String(seconds), ...udp], { timeoutMs: (seconds + 30) * 1000 });
  await server.stop("SIGINT");
  const { end } = JSON.parse(stdout) as { end: { sum_received?: { bits_per_second: number }; sum: { bits_per_second: number; lost_percent?: number } } };
  const sent = end.sum_received ?? end.sum;
  const lost = protocol === "udp" ? (end.sum.lost_percent ?? 0) : 0;
  return ((end.sum_received === undefined ? sent.bits_per_second * (1 - lost / 100) : sent.bits_per_second)) / 1e6;
}

export async function benchQos({ seconds, log = () => undefined }: QosOptions): Promise<{ readonly measured: readonly Measured[] }> {
  await exec(["iperf3", "--version"]).catch(() => {
    throw new Error("iperf3 is needed: sudo apt-get install iperf3");
  });
  const lab = await Lab.create({ name: "bench" });
  try {
    const [controller, one, two] = await Promise.all([startController(lab), lab.addHypervisor({ name: "hv1" }), lab.addHypervisor({ name: "hv2" })]);
    for (const hv of [one, two]) await hv.setManager(lab.manager);
    const call = async (method: string, path: string, key: string, values: object): Promise<Made> => {
      const answer = await controller.api<Record<string, Made>>(method, `/v2.0/${path}`, { [key]: values }, { "x-project-id": "bench", "x-roles": "admin" });
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body[key]!;
    };
    const network = await call("POST", "networks", "network", {});
    await call("POST", "subnets", "subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
    const [from, to] = await Promise.all([one, two].map(async (hypervisor, i) => {
      const port = await call("POST", "ports", "port", { network_id: network.id, port_security_enabled: false });
      const vm = await lab.addVm({ name: `vm${i}`, hypervisor, portId: port.id, mac: port.mac_address, mtu: network.mtu });
      const ip = port.fixed_ips[0]!.ip_address;
      await vm.setAddress(`${ip}/24`);
      return { vm, port, ip };
    }));
    await until("a ping", () => from!.vm.reaches(to!.ip), { timeoutMs: 20_000 });
    const measured: Measured[] = [];
    for (const kbps of LIMITS_KBPS) {
      for (const direction of ["egress", "ingress"] as const) {
        const policy = await call("POST", "qos/policies", "policy", {});
        await call("POST", `qos/policies/${policy.id}/bandwidth_limit_rules`, "bandwidth_limit_rule", { max_kbps: kbps, direction });
        const limited = direction === "egress" ? from! : to!;
        await call("PUT", `ports/${limited.port.id}?wait=dataplane`, "port", { qos_policy_id: policy.id });
        for (const protocol of ["udp", "tcp"] as const) {
          const mbit = framed(await measure(from!.vm, to!.vm, to!.ip, protocol, kbps, seconds), protocol, network.mtu);
          const row = { protocol, direction, limit_mbit: kbps / 1000, mbit: Math.round(mbit * 100) / 100, ratio: Math.round((mbit * 1e6) / kbps) / 1000 };
          log(`${protocol} ${direction} ${row.limit_mbit} Mbit/s: ${row.mbit} (${row.ratio})`);
          measured.push(row);
        }
        await call("PUT", `ports/${limited.port.id}`, "port", { qos_policy_id: null });
      }
    }
    return { measured };
  } finally {
    await lab.destroy();
  }
}
