// A question of a machine and what the model says of it in, the answer out; or that others have to be asked.
import { contains, formatIp, parseCidr, parseIp, type ReadView } from "#app";
import { dnsClasses, dnsRcodes, type DnsMessage, type DnsRecord } from "packet-codec";
import { subnetTable } from "../ipam/model.ts";
import type { Address, Network, Port } from "../l2/model.ts";
import { addressesOfName, ANSWERS_MAX, bare, dnsSettings, domainOf, holderOf, hostOf, networksOf } from "./model.ts";

/** Seconds for which an answer counts: names move with ports. */
const TTL_S = 30;
/** The largest payload of ours and of what we ask for: no link of a network has to split it. */
export const UDP_SIZE = 1232;

export type Reply = Pick<DnsMessage, "rcode"> & { readonly answers: readonly DnsRecord[] };

const nothing: Reply = { rcode: dnsRcodes.noError, answers: [] };
const unknown: Reply = { rcode: dnsRcodes.nameError, answers: [] };

/** undefined: it is no question that the model answers. */
export function answer(view: ReadView, asker: Port, { questions }: Pick<DnsMessage, "questions">): Reply | undefined {
  const [question] = questions;
  if (question === undefined || questions.length > 1) return { rcode: dnsRcodes.formatError, answers: [] };
  if (question.class !== dnsClasses.internet) return { rcode: dnsRcodes.refused, answers: [] };
  const { name, type } = question;
  const text = bare(name.toLowerCase());
  const networks = networksOf(view, asker);
  const reversed = addressOfReverse(text);
  if (reversed !== undefined) {
    const holder = holderOf(view, asker, reversed, networks);
    // Who has private addresses outside is nobody's business here, unless a server was named for it.
    if (holder === undefined) return isOfNetworks(view, reversed, networks) || (isPrivate(reversed) && view.settings(dnsSettings)["dns-forwarders"].length === 0) ? unknown : undefined;
    return type === "PTR" || type === "ANY" ? { rcode: dnsRcodes.noError, answers: [{ name, class: dnsClasses.internet, ttl: TTL_S, type: "PTR", data: { name: `${hostOf(view, holder)}.${view.settings(dnsSettings)["dns-domain"]}` } }] } : nothing;
  }
  const own = view.settings(dnsSettings)["dns-domain"];
  const found = addressesOf(view, asker, text, own, networks);
  if (found.length > 0) return { rcode: dnsRcodes.noError, answers: found.flatMap((address) => recordOf(name, type, address)).slice(0, ANSWERS_MAX) };
  if (text === own) return nothing;
  // What is below the domain of all nobody else knows, nor a machine of one label; what else there is of that, the root and domains below it, others do.
  const isMachine = text !== "" && !text.includes(".") && (type === "A" || type === "AAAA");
  return isMachine || text.endsWith(`.${own}`) ? unknown : undefined;
}

/** Addresses that go by a name, as it stands (with a domain of its port, or with none), or below the domain of all or of a network. */
function addressesOf(view: ReadView, asker: Port, text: string, own: string, networks: readonly Network[]): Address[] {
  const found = new Map<string, Address>();
  const look = (name: string, within: readonly Network[]): void => {
    for (const address of addressesOfName(view, asker, name, within)) found.set(address.id, address);
  };
  look(text, networks);
  if (text.endsWith(`.${own}`)) look(text.slice(0, -own.length - 1), networks);
  for (const network of networks) {
    const domain = domainOf(view, network.id);
    if (domain !== own && text.endsWith(`.${domain}`)) look(text.slice(0, -domain.length - 1), [network]);
  }
  return [...found.values()];
}

function recordOf(name: string, type: DnsMessage["questions"][number]["type"], { family, ip }: Address): DnsRecord[] {
  const head = { name, class: dnsClasses.internet, ttl: TTL_S } as const;
  if (family === 4) return type === "A" || type === "ANY" ? [{ ...head, type: "A", data: { address: ip } }] : [];
  return type === "AAAA" || type === "ANY" ? [{ ...head, type: "AAAA", data: { address: ip } }] : [];
}

const HEX_DIGITS = 32;

/** The address that a name below in-addr.arpa or ip6.arpa is of. RFC 1035 section 3.5, RFC 3596 section 2.5 */
export function addressOfReverse(name: string): string | undefined {
  const v4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/.exec(name)?.[1];
  if (v4 !== undefined) return normal(v4.split(".").slice(0, 4).reverse().join("."));
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  if (v6 === undefined) return undefined;
  const digits = v6.replaceAll(".", "").split("").reverse().join("");
  return normal(Array.from({ length: HEX_DIGITS / 4 }, (_, i) => digits.slice(i * 4, i * 4 + 4)).join(":"));
}
const normal = (text: string): string | undefined => {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
};

/** Zones that are answered where they are asked. RFC 6303 section 4 */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "fd00::/8", "fe80::/10", "::/127"].map((cidr) => parseCidr(cidr)!);
const isPrivate = (ip: string): boolean => PRIVATE.some((cidr) => contains(cidr, parseIp(ip)!));

/** Whether an address is one of those that the networks have: of nobody there, it is nobody's. */
function isOfNetworks(view: ReadView, ip: string, networks: readonly Network[]): boolean {
  const parsed = parseIp(ip)!;
  return networks.some(({ id }) => view.by(subnetTable, "network", id).some(({ cidr }) => contains(parseCidr(cidr)!, parsed)));
}
