// What a security group rule may say: protocols, ports, prefixes, and which of them go together.
import { badRequest, formatIp, makeCheck, parseCidr, parseUuid, show, type ApiError, type Converter, type Convert, type Values } from "#app";
import { remoteOf, remoteSetsOf, type SecurityGroupRule } from "./model.ts";
import { protocolNumber, protocolNumbers } from "./protocol.ts";

const NAMES = Object.keys(protocolNumbers).sort();

/** Protocols whose ports a switch can match. */
const PORTED: ReadonlySet<number> = new Set([6, 17, 132]);
const PORTED_NAMES = "tcp, udp, sctp";
/** Have ports too, but no match field: DCCP and UDP-Lite. */
const UNMATCHED: Readonly<Record<number, string>> = { 33: "dccp", 136: "udplite" };
const ANY = -1;
const ICMP = 1;
const ICMPV6 = 58;
/** Of IPv6 rules alone: ipv6-encap, ipv6-route, ipv6-frag, ipv6-icmp, ipv6-nonxt, ipv6-opts. */
const V6_ONLY: ReadonlySet<number> = new Set([41, 43, 44, 58, 59, 60]);

/** null, "any", a name in any case, or 0..255; stored as given, lower case. */
export const protocol: Convert = (value) => {
  if (value === null) return null;
  const text = typeof value === "number" || typeof value === "string" ? String(value).toLowerCase() : undefined;
  if (text === "any" || text === "") return null;
  if (text !== undefined && (Object.hasOwn(protocolNumbers, text) || (/^(0|[1-9]\d{0,2})$/.test(text) && Number(text) <= 255))) return text;
  throw badRequest(`Security group rule protocol ${show(value)} not supported. Only protocol values [${NAMES.join(", ")}] and integer representations [0 to 255] are supported.`, "SecurityGroupRuleInvalidProtocol");
};

/** null or 0..65535, as a number or digits. */
export const portNumber: Convert = (value) => {
  if (value === null) return null;
  const n = typeof value === "number" ? value : typeof value === "string" && /^\d{1,5}$/.test(value) ? Number(value) : NaN;
  if (Number.isInteger(n) && n >= 0 && n <= 65535) return n;
  throw badRequest(`Invalid value for port ${show(value)}.`, "SecurityGroupInvalidPortValue");
};

/** IPv4 or IPv6 in any case. */
export const ethertype: Convert = (value) => {
  const text = typeof value === "string" ? value.toLowerCase() : "";
  if (text === "ipv4") return "IPv4";
  if (text === "ipv6") return "IPv6";
  throw badRequest(`Security group rule for ethertype '${show(value)}' not supported. Allowed values are ['IPv4', 'IPv6'].`, "SecurityGroupRuleInvalidEtherType");
};

/** A prefix with its host bits as given; a bare address is its own prefix. */
const remotePrefix: Convert = (value) => {
  if (value === null) return null;
  const c = typeof value === "string" ? parseCidr(value) : undefined;
  if (c === undefined) throw badRequest(`Invalid CIDR ${show(value)} given as IP prefix.`, "InvalidCIDR");
  return `${formatIp({ family: c.family, value: c.address })}/${c.prefix}`;
};

/** An id that may name nothing: what is not there is 404, whatever it looks like. UUIDs in their one spelling. */
const someId: Convert = (value, attribute) => {
  const text = idText(value, attribute) as string;
  return parseUuid(text) ?? text;
};
const idText = makeCheck({ type: "string", max: 36 });

export const converters: Readonly<Record<string, Converter>> = {
  "some-id": { about: "id of up to 36 characters", form: { type: "string", max: 36 }, run: someId },
  "security-group-protocol": { about: "name or 0..255; null: any", form: { or: [{ type: "string" }, { range: [0, 255] }, { type: "null" }] }, run: protocol },
  "security-group-port": { about: "0..65535 or null", form: { or: [{ range: [0, 65535] }, { type: "null" }] }, run: portNumber },
  "security-group-ethertype": { about: "IPv4 or IPv6", form: { enum: ["IPv4", "IPv6"], anyCase: true }, run: ethertype },
  "security-group-prefix": { about: "prefix or null", form: { or: [{ type: "ip-or-cidr" }, { type: "null" }] }, run: remotePrefix },
};

export type Content = Pick<SecurityGroupRule, "direction" | "ethertype" | "protocol" | "port_range_min" | "port_range_max" | "remote_ip_prefix" | "remote_group_id" | "remote_set">;

/** What the API gave for a rule. @throws ApiError where it names more than one other side */
export function contentOf(input: Values): Content {
  const [set, ...more] = remoteSetsOf(input);
  const { remote_ip_prefix, remote_group_id } = input as Pick<Content, "remote_ip_prefix" | "remote_group_id">;
  if ([remote_ip_prefix, remote_group_id, set ?? null].filter((r) => r !== null).length + more.length > 1) {
    throw refuse("SecurityGroupMultipleRemoteEntites", "Only one of remote_ip_prefix, remote_group_id or remote_address_group_id may be provided.");
  }
  return {
    direction: input.direction as Content["direction"],
    ethertype: input.ethertype as Content["ethertype"],
    protocol: input.protocol as string | null,
    port_range_min: input.port_range_min as number | null,
    port_range_max: input.port_range_max as number | null,
    remote_ip_prefix,
    remote_group_id,
    ...(set !== undefined && { remote_set: set }),
  };
}

const refuse = (type: string, message: string): ApiError => badRequest(message, type);

function checkIcmp(min: number | null, max: number | null): void {
  for (const [field, attr, value] of [["port_range_min", "type", min], ["port_range_max", "code", max]] as const) {
    if (value !== null && value > 255) throw refuse("SecurityGroupInvalidIcmpValue", `Invalid value for ICMP ${attr} (${field}) ${value}. It must be 0 to 255.`);
  }
  if (min === null && max !== null) throw refuse("SecurityGroupMissingIcmpType", `ICMP code (port-range-max) ${max} is provided but ICMP type (port-range-min) is missing.`);
}

function checkPorts(min: number | null, max: number | null): void {
  if (min === null && max === null) return;
  if (min === 0 || max === 0) throw refuse("SecurityGroupInvalidPortValue", "Invalid value for port 0.");
  if (min === null || max === null || min > max) throw refuse("SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max");
}

/** Whether the parts of a rule go together. */
export function checkRule(rule: Content): void {
  const { protocol: name, port_range_min: min, port_range_max: max } = rule;
  if (name === null) {
    if (min !== null || max !== null) throw refuse("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.");
  } else {
    const number = protocolNumber(name, rule.ethertype) ?? ANY;
    if (rule.ethertype === "IPv4" && V6_ONLY.has(number)) throw refuse("SecurityGroupEthertypeConflictWithProtocol", `Invalid ethertype ${rule.ethertype} for protocol ${name}.`);
    if (number === ICMP || number === ICMPV6) checkIcmp(min, max);
    else if (PORTED.has(number)) checkPorts(min, max);
    else if (min !== null || max !== null) {
      const known = UNMATCHED[number];
      if (known !== undefined) throw refuse("SecurityGroupInvalidProtocolForPort", `Port ranges of protocol ${name} (${known}) cannot be matched: Open vSwitch has no field for its ports. Leave out port_range_min and port_range_max to allow the whole protocol.`);
      throw refuse("SecurityGroupInvalidProtocolForPort", `Invalid protocol ${name} for port range, only supported for ${PORTED_NAMES}.`);
    }
  }
  if (rule.remote_ip_prefix !== null) {
    const { family } = parseCidr(rule.remote_ip_prefix)!;
    if (rule.ethertype !== `IPv${family}`) {
      throw refuse("SecurityGroupRuleParameterConflict", `Conflicting value ethertype ${rule.ethertype} for CIDR ${rule.remote_ip_prefix}`);
    }
  }
}

/** Equal for rules that say the same: what a group may have once. */
export function ruleKey(rule: Content): string {
  return JSON.stringify([
    rule.direction, rule.ethertype, protocolNumber(rule.protocol, rule.ethertype) ?? null, rule.port_range_min, rule.port_range_max, rule.remote_ip_prefix, remoteOf(rule) ?? null,
  ]);
}
