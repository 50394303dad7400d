// The smallest rule that would let a packet pass that no rule allows.
import { formatIp, ipProto, isIpv6, type Explains, type PacketStop, type ReadView } from "#app";
import { portTable, type Port } from "../../l2/model.ts";
import { droppedInto, portGroupsTable, ruleTable } from "../model.ts";
import { protocolNumber } from "../protocol.ts";

const WITH_PORTS: ReadonlySet<number> = new Set([ipProto.tcp, ipProto.udp, ipProto.sctp]);

/** Where rules let packets pass or not; what ends in the group's other tables they let pass. */
const DENYING = /^sg_(in|out)(?:_connection|_stateless|_denied)?$/;

export const explains: Explains = {
  *ports(view, type, id) {
    const group = type === "security_group" ? id : type === "security_group_rule" ? view.get(ruleTable, id)?.security_group_id : undefined;
    if (group !== undefined) for (const port of view.by(portGroupsTable, "group", group)) yield port.id;
  },
  *traffic(view, port) {
    for (const group of view.get(portGroupsTable, port)?.groups ?? []) {
      for (const { ethertype, protocol: name, port_range_min: min, port_range_max: max } of view.by(ruleTable, "group", group)) {
        const protocol = protocolNumber(name, ethertype);
        if (protocol === undefined) continue;
        const ranged = WITH_PORTS.has(protocol) && min !== null && max !== null;
        yield { family: ethertype === "IPv6" ? 6 : 4, protocol, ...(ranged && { ports: [min, max] as const }) };
      }
    }
  },
  cause(view, stop) {
    if (stop.passed === true) return undefined;
    const direction = DENYING.exec(stop.table)?.[1] ?? droppedInto(view, stop.table, (to) => stop.register(to === "out" ? "in_port_key" : "out_port_key"));
    if (direction === undefined) return undefined;
    const key = direction === "out" ? stop.register("in_port_key") : stop.register("out_port_key");
    const [port] = view.by(portTable, "key", String(key));
    if (port === undefined) return undefined;
    return denied(view, port, direction === "out" ? "egress" : "ingress", stop);
  },
};

function denied(view: ReadView, port: Readonly<Port>, direction: "ingress" | "egress", stop: PacketStop): ReturnType<NonNullable<Explains["cause"]>> {
  const groups = view.get(portGroupsTable, port.id)?.groups ?? [];
  const six = stop.field("eth_type") === 0x86ddn;
  const fields = fieldsOf(stop, six);
  const remote = direction === "ingress" ? fields.source : fields.destination;
  const resources = [{ type: "port", id: port.id }, ...groups.map((id) => ({ type: "security_group", id }))];
  const what = `${fields.name}${fields.ports === undefined ? "" : ` ${fields.ports[0]}`} ${direction === "ingress" ? "from" : "to"} ${remote}`;
  const [group] = groups;
  if (group === undefined) {
    return {
      reason: "security_group", text: `port ${port.id} has no security group, and port security: nothing but what its network needs passes`, resources,
      cure: { text: "give the port a security group (security_groups) that lets it pass; which one is yours to choose" },
    };
  }
  return {
    reason: "security_group", text: `no ${direction} rule of port ${port.id} allows ${what}`, resources,
    cure: {
      text: "the smallest rule that lets it pass",
      call: {
        method: "POST", path: "/v2.0/security-group-rules",
        body: {
          security_group_rule: {
            security_group_id: group, direction, ethertype: six ? "IPv6" : "IPv4", protocol: fields.protocol, ...(fields.ports !== undefined && { port_range_min: fields.ports[0], port_range_max: fields.ports[1] }),
            remote_ip_prefix: `${remote}/${isIpv6(remote) ? 128 : 32}`,
          },
        },
      },
    },
  };
}

const NAMES: ReadonlyMap<number, string> = new Map([[ipProto.icmp, "icmp"], [ipProto.tcp, "tcp"], [ipProto.udp, "udp"], [ipProto.icmpv6, "ipv6-icmp"], [ipProto.sctp, "sctp"]]);

/** As rules name them. */
function fieldsOf(stop: PacketStop, six: boolean): { readonly protocol: string; readonly name: string; readonly ports: readonly [number, number] | undefined; readonly source: string; readonly destination: string } {
  const number = Number(stop.field("ip_proto"));
  const name = NAMES.get(number);
  const icmp = number === ipProto.icmp || number === ipProto.icmpv6;
  const [from, to] = [Number(stop.field("tcp_src")), Number(stop.field("tcp_dst"))];
  return {
    protocol: name ?? String(number), name: name ?? `protocol ${number}`, ports: name === undefined ? undefined : icmp ? [from, to] : [to, to],
    source: address(stop.field(six ? "ipv6_src" : "ipv4_src"), six), destination: address(stop.field(six ? "ipv6_dst" : "ipv4_dst"), six),
  };
}

const address = (value: bigint, six: boolean): string => formatIp({ family: six ? 6 : 4, value });
