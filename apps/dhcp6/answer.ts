// A DHCPv6 message of a client and what the model says of its port in, the answer out (RFC 8415 section 18.3). Which messages count is
// section 16.
import { buildDhcp6, buildDuid, dhcp6MessageTypes, dhcp6Value, type Dhcp6ClientMessage, type Dhcp6Message, type Dhcp6Option, type Duid } from "packet-codec";
import { extraOptions, type DhcpOpt } from "../dhcp/model.ts";
import { associations, give, keep, status, unbound, type Given, type Lent } from "./associations.ts";
import { optionsOfIpv6 } from "./options.ts";

/** Identifiers are no longer: RFC 8415 section 11.1. */
const DUID_MAX = 130;
/** Highest: no client waits for other servers, RFC 8415 section 18.2.1. */
const PREFERENCE = 255;
/** IRT_MINIMUM, RFC 8415 section 7.6: clients that want the rest ask no sooner. */
const REFRESH_MIN_S = 600;
/** Of CLIENT_FQDN, RFC 4704 section 4.1: the server keeps the name, though the client wanted otherwise. */
const FQDN_SERVER = 1;
const FQDN_OVERRIDDEN = 2;

const code = { dns: 23, domains: 24, refresh: 32, fqdn: 39 } as const;

export interface Client extends Lent {
  /** All addresses of the port: what it names in a CONFIRM has to be among them. */
  readonly all: readonly string[];
  /** Whether an address is of the port's network. */
  readonly isOnLink: (ip: string) => boolean;
  readonly nameServers: readonly string[];
  /** Where names without a domain are looked for. */
  readonly domains: readonly string[];
  /** What the port is called, with its domain. */
  readonly fqdn: string | undefined;
  readonly options: readonly DhcpOpt[];
  /** Longest message in bytes. */
  readonly limit: number;
}

export interface Reply {
  readonly message: Dhcp6ClientMessage;
  /** Numbers of options that there is no room for. */
  readonly omitted: readonly number[];
}

/** Nothing is sent; `declined`: addresses that somebody else uses, as an operator may want to know. */
export interface Silence {
  readonly ignored: string;
}

const type = dhcp6MessageTypes;

/** What a message has to name, and what it must not. RFC 8415 sections 16.2 to 16.12 */
const forms: Readonly<Record<number, { readonly client: "must" | "may"; readonly server: "must" | "never" | "may" }>> = {
  [type.solicit]: { client: "must", server: "never" },
  [type.request]: { client: "must", server: "must" },
  [type.confirm]: { client: "must", server: "never" },
  [type.renew]: { client: "must", server: "must" },
  [type.rebind]: { client: "must", server: "never" },
  [type.release]: { client: "must", server: "must" },
  [type.decline]: { client: "must", server: "must" },
  [type.informationRequest]: { client: "may", server: "may" },
};

/** Why a message is not answered; undefined: it is. */
function unfit(request: Dhcp6ClientMessage, server: Duid): string | undefined {
  const form = forms[request.msg_type];
  if (form === undefined) return "no message of a client";
  const [client, named] = [dhcp6Value(request, "CLIENTID"), dhcp6Value(request, "SERVERID")];
  if (client === undefined && form.client === "must") return "does not say who it is from";
  if (client !== undefined && buildDuid(client).length > DUID_MAX) return "its client has too long an identifier";
  if (named === undefined) return form.server === "must" ? "does not say which server it is for" : undefined;
  if (form.server === "never") return "names a server and must not";
  return buildDuid(named).equals(buildDuid(server)) ? undefined : "for another server";
}

export function answer(request: Dhcp6Message, server: Duid, client: Client): Reply | Silence {
  if ("hop_count" in request || "flags" in request) return { ignored: "no message of a client" };
  const why = unfit(request, server);
  if (why !== undefined) return { ignored: why };
  const ias = associations(request);
  const reply = (msg_type: number, options: Dhcp6Option[]): Reply => ({ message: { msg_type, transaction_id: request.transaction_id, options: [...identities(request, server), ...options] }, omitted: [] });
  const configure = (msg_type: number, { options }: Pick<Given, "options">): Reply => withOptions(reply(msg_type, options), request, client);
  switch (request.msg_type) {
    case type.solicit: {
      const given = give(ias, client);
      if (given.count === 0) return configure(type.advertise, given);
      if (dhcp6Value(request, "RAPID_COMMIT") === true) return configure(type.reply, { options: [{ option: "RAPID_COMMIT", value: true }, ...given.options] });
      return configure(type.advertise, { options: [{ option: "PREFERENCE", value: PREFERENCE }, ...given.options] });
    }
    case type.request:
      return configure(type.reply, give(ias, client, client.isOnLink));
    case type.renew:
    case type.rebind:
      return configure(type.reply, keep(ias, client));
    case type.confirm: {
      const named = ias.flatMap((ia) => (ia.name === "IA_PD" ? [] : ia.named));
      if (named.length === 0) return { ignored: "confirms no address" };
      // What another has by now is not this one's, though it be of the link.
      return reply(type.reply, [status(named.every(({ ip }) => client.all.includes(ip)) ? "success" : "notOnLink")]);
    }
    case type.release:
    case type.decline:
      return reply(type.reply, [status("success"), ...unbound(ias, client)]);
    default:
      return ias.length > 0 ? { ignored: "asks for options alone, and for addresses" } : configure(type.reply, { options: [] });
  }
}

/** Addresses of the port that a DECLINE says somebody else uses. */
export const declined = (request: Dhcp6Message, { addresses }: Pick<Client, "addresses">): readonly string[] =>
  request.msg_type === type.decline ? associations(request).flatMap((ia) => (ia.name === "IA_PD" ? [] : ia.named.map(({ ip }) => ip))).filter((ip) => addresses.includes(ip)) : [];

function identities(request: Dhcp6ClientMessage, server: Duid): Dhcp6Option[] {
  const client = dhcp6Value(request, "CLIENTID");
  return [...(client === undefined ? [] : [{ option: "CLIENTID", value: client } as const]), { option: "SERVERID", value: server }];
}

/** With what the client asks for, in its order, as far as it fits; with everything if it has no list. */
function withOptions({ message }: Reply, request: Dhcp6ClientMessage, client: Client): Reply {
  const list = dhcp6Value(request, "ORO");
  const values = valuesFor(request, client);
  let left = client.limit - buildDhcp6(message).length;
  const omitted: number[] = [];
  const options: Dhcp6Option[] = [];
  for (const option of list === undefined ? values.keys() : new Set(list)) {
    const value = values.get(option);
    if (value === undefined) continue;
    const size = buildDhcp6({ ...message, options: [value] }).length - buildDhcp6({ ...message, options: [] }).length;
    if (size > left) {
      omitted.push(option);
      continue;
    }
    left -= size;
    options.push(value);
  }
  return { message: { ...message, options: [...message.options, ...options] }, omitted };
}

function valuesFor(request: Dhcp6ClientMessage, client: Client): Map<number, Dhcp6Option> {
  const values = new Map<number, Dhcp6Option>();
  const { nameServers, domains, leaseS, fqdn } = client;
  if (nameServers.length > 0) values.set(code.dns, { option: "DNS_SERVERS", value: [...nameServers] });
  if (domains.length > 0) values.set(code.domains, { option: "DOMAIN_LIST", value: [...domains] });
  if (request.msg_type === type.informationRequest) values.set(code.refresh, { option: "INFORMATION_REFRESH_TIME", value: Math.max(REFRESH_MIN_S, leaseS) });
  const asked = dhcp6Value(request, "CLIENT_FQDN");
  if (asked !== undefined && fqdn !== undefined) values.set(code.fqdn, { option: "CLIENT_FQDN", value: { flags: FQDN_SERVER | ((asked.flags & FQDN_SERVER) === 0 ? FQDN_OVERRIDDEN : 0), name: fqdn } });
  for (const [option, value] of extraOptions(optionsOfIpv6, client.options, isIpxe(request))) {
    if (value.length > 0) values.set(option, { option, value });
    else values.delete(option);
  }
  return values;
}

const isIpxe = (request: Dhcp6ClientMessage): boolean => dhcp6Value(request, "USER_CLASS")?.some((data) => Buffer.from(data).includes("iPXE")) === true;
