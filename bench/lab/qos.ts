// How near QoS limits come to what was asked: UDP at twice the limit and TCP, both ways, by iperf3: of ports between two hosts, of a floating IP and of a router's gateway to a machine outside.
// Open vSwitch's userspace datapath.
import { startController } from "../../lab/controller.ts";
import { exec, until } from "../../lab/exec.ts";
import type { Guest } from "../../lab/guest.ts";
import { transfer } from "../../lab/iperf.ts";
import { Lab } from "../../lab/lab.ts";

export interface QosOptions {
  /** Of each transfer, after two seconds that do not count. */
  readonly seconds: number;
  readonly log?: (line: string) => void;
}

interface Measured {
  readonly of: "port" | "floating IP" | "gateway";
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
  readonly floating_ip_address: string;
}

const LIMITS_KBPS = [5000, 50_000];
const OUTSIDE = "203.0.113.100";

/** What is limited: between whom, and what to say for it to have a policy. */
interface Limited {
  readonly of: Measured["of"];
  readonly give: (policy: string | null) => Promise<unknown>;
  readonly way: (direction: Measured["direction"]) => { readonly from: Guest; readonly to: Guest; readonly ip: string; readonly reverse?: boolean };
}

export async function benchQos({ seconds, log = () => undefined }: QosOptions): Promise<{ readonly measured: readonly Measured[] }> {
  await exec(["iperf3", "--version"]).catch(() => {
    throw new Error("iperf3 is needed: sudo apt-get install iperf3");
  });
  const lab = await Lab.create({ name: "bench" });
  try {
    const [controller, ...hosts] = await Promise.all([startController(lab), ...["hv1", "hv2", "hv3"].map((name) => lab.addHypervisor({ name, physnets: ["ext"], gateway: name === "hv3" }))]);
    for (const hv of hosts) await hv.setManager(lab.manager);
    const call = async (method: string, path: string, key: string, values: object): Promise<Made> => {
      const answer = await controller.api<Record<string, Made>>(method, `/v2.0/${path}`, { [key]: values }, { "x-project-id": "bench", "x-roles": "admin" });
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body[key]!;
    };
    const [network, outside] = [await call("POST", "networks", "network", {}), await call("POST", "networks", "network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" })];
    const subnet = await call("POST", "subnets", "subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
    await call("POST", "subnets", "subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24" });
    const router = await call("POST", "routers", "router", { external_gateway_info: { network_id: outside.id } });
    await controller.api("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id }, { "x-project-id": "bench", "x-roles": "admin" });
    const [one, two, three] = await Promise.all([0, 1, 0].map(async (host, i) => {
      const port = await call("POST", "ports", "port", { network_id: network.id, port_security_enabled: false });
      const vm = await lab.addVm({ name: `vm${i}`, hypervisor: hosts[host]!, portId: port.id, mac: port.mac_address, mtu: network.mtu });
      const ip = port.fixed_ips[0]!.ip_address;
      await vm.setAddress(`${ip}/24`);
      await vm.configure("route add default via 10.0.0.1 dev eth0");
      return { vm, port, ip };
    }));
    const machine = await lab.addOutside({ name: "machine", physnet: "ext" });
    await machine.configure("link set lo up", `addr replace ${OUTSIDE}/24 dev eth0`);
    const floating = await call("POST", "floatingips", "floatingip", { floating_network_id: outside.id, port_id: one!.port.id });
    for (const [from, ip] of [[one, two!.ip], [one, OUTSIDE], [three, OUTSIDE]] as const) await until("a ping", () => from!.vm.reaches(ip), { timeoutMs: 20_000 });
    const cases: readonly Limited[] = [
      // Of each direction the port at that end.
      { of: "port", give: async (qos_policy_id) => Promise.all([one!, two!].map(({ port }) => call("PUT", `ports/${port.id}?wait=dataplane`, "port", { qos_policy_id }))), way: () => ({ from: one!.vm, to: two!.vm, ip: two!.ip }) },
      {
        of: "floating IP", give: (qos_policy_id) => call("PUT", `floatingips/${floating.id}?wait=dataplane`, "floatingip", { qos_policy_id }),
        way: (direction) => (direction === "egress" ? { from: one!.vm, to: machine, ip: OUTSIDE } : { from: machine, to: one!.vm, ip: floating.floating_ip_address }),
      },
      {
        of: "gateway", give: (qos_policy_id) => call("PUT", `routers/${router.id}?wait=dataplane`, "router", { external_gateway_info: { network_id: outside.id, qos_policy_id } }),
        way: (direction) => ({ from: three!.vm, to: machine, ip: OUTSIDE, reverse: direction === "ingress" }),
      },
    ];
    const measured: Measured[] = [];
    for (const { of, give, way } of cases) {
      for (const kbps of LIMITS_KBPS) {
        for (const direction of ["egress", "ingress"] as const) {
          const policy = await call("POST", "qos/policies", "policy", {});
          await call("POST", `qos/policies/${policy.id}/bandwidth_limit_rules`, "bandwidth_limit_rule", { max_kbps: kbps, direction });
          await give(policy.id);
          for (const protocol of ["udp", "tcp"] as const) {
            const mbit = await transfer({ ...way(direction), protocol, kbps: kbps * 2, seconds, mtu: network.mtu });
            const row = { of, protocol, direction, limit_mbit: kbps / 1000, mbit: Math.round(mbit * 100) / 100, ratio: Math.round((mbit * 1e6) / kbps) / 1000 };
            log(`${of}: ${protocol} ${direction} ${row.limit_mbit} Mbit/s: ${row.mbit} (${row.ratio})`);
            measured.push(row);
          }
          await give(null);
        }
      }
    }
    return { measured };
  } finally {
    await lab.destroy();
  }
}
