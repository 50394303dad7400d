// Which rules of a port allow what was accepted. Switches do not say: the flow of a verdict is one for all rules.
import { contains, parseCidr, parseIp, type ReadView } from "#app";
import { addressTable, portTable } from "../l2/model.ts";
import { portGroupsTable, protocolNumber, remoteOf, ruleTable, type SecurityGroupRule } from "../security-groups/model.ts";
import type { LoggedPacket } from "./model.ts";

type Packet = Pick<LoggedPacket, "port_id" | "direction" | "ethertype" | "protocol" | "source" | "destination" | "destination_port" | "icmp_type" | "icmp_code">;

const ICMP: ReadonlySet<number> = new Set([1, 58]);

function saysProtocol(rule: SecurityGroupRule, packet: Packet): boolean {
  if (rule.direction !== packet.direction || rule.ethertype !== packet.ethertype) return false;
  const protocol = protocolNumber(rule.protocol, rule.ethertype);
  if (protocol === undefined) return true;
  if (protocol !== packet.protocol) return false;
  const { port_range_min: min, port_range_max: max } = rule;
  if (min === null) return true;
  if (ICMP.has(protocol)) return packet.icmp_type === min && (max === null || packet.icmp_code === max);
  return packet.destination_port !== null && packet.destination_port >= min && packet.destination_port <= (max ?? min);
}

/** Whether the other side is one that the rule means; undefined: that cannot be told of this address. */
function saysRemote(view: ReadView, rule: SecurityGroupRule, packet: Packet): boolean | undefined {
  const other = packet.direction === "ingress" ? packet.source : packet.destination;
  if (rule.remote_ip_prefix !== null) return contains(parseCidr(rule.remote_ip_prefix)!, parseIp(other)!);
  if (remoteOf(rule) === undefined) return true;
  if (rule.remote_group_id === null) return undefined;
  const network = view.get(portTable, packet.port_id)?.network_id;
  const port = network === undefined ? undefined : view.get(addressTable, `${network}/${other}`)?.port_id;
  return port === undefined ? undefined : view.get(portGroupsTable, port)?.groups.includes(rule.remote_group_id) === true;
}

export interface Allowing {
  /** Ids of rules that allow it for certain. */
  readonly rules: readonly string[];
  /** Groups with a rule that does, or may: whether the other side is of a group, or of a set of addresses, is not always to be seen. */
  readonly groups: ReadonlySet<string>;
}

export function allowing(view: ReadView, packet: Packet): Allowing {
  const rules: string[] = [];
  const groups = new Set<string>();
  for (const group of view.get(portGroupsTable, packet.port_id)?.groups ?? []) {
    for (const rule of view.by(ruleTable, "group", group)) {
      const says = saysProtocol(rule, packet) ? saysRemote(view, rule, packet) : false;
      if (says !== false) groups.add(group);
      if (says === true) rules.push(rule.id);
    }
  }
  return { rules: rules.sort(), groups };
}
