// What callers may say of a port's further addresses and of its binding.
import { asList, badRequest, contains, invalidFor, invalidInput, isObject, makeCheck, orNull, parseCidr, show, type Convert, type Converter } from "#app";
import { ADDRESS_PAIRS_MAX } from "./model.ts";

const ipOrCidr = makeCheck({ type: "ip-or-cidr" });
const mac = makeCheck({ type: "mac" });
const object = makeCheck({ type: "object" });

export interface GivenPair {
  readonly ip_address: string;
  readonly mac_address?: string;
}

/** Nothing is sent from an address of many: RFC 1122 3.2.1.3, RFC 4291 2.7. That MACs are none of many, `mac` says. */
const MULTICAST = ["224.0.0.0/4", "ff00::/8"].map((cidr) => parseCidr(cidr)!);
function checkSource(ip: string, attribute: string): void {
  if (MULTICAST.some((all) => contains(all, parseCidr(ip)!))) throw invalidFor(attribute, `'${ip}' is a multicast address`);
}

/** At most 10 `{ip_address: address or prefix, mac_address?}`; the port's own MAC is the default, filled in by the port. */
export const addressPairs: Convert = (value, attribute) => {
  const items = value === null ? [] : asList(value, attribute);
  if (items.length > ADDRESS_PAIRS_MAX) throw badRequest(`The number of allowed address pair exceeds the maximum ${ADDRESS_PAIRS_MAX}.`, "AllowedAddressPairExhausted");
  const seen = new Set<string>();
  return items.map((item): GivenPair => {
    if (!isObject(item)) throw invalidFor(attribute, `'${show(item)}' is not a dictionary`);
    const unknown = Object.keys(item).filter((k) => k !== "ip_address" && k !== "mac_address");
    if (unknown.length > 0) throw invalidFor(attribute, `Unrecognized attribute(s) '${show(unknown.join(", "))}'`);
    if (item.ip_address === undefined) throw badRequest("AllowedAddressPair must contain ip_address", "AllowedAddressPairsMissingIP");
    const pair: { ip_address: string; mac_address?: string } = { ip_address: ipOrCidr(item.ip_address, attribute) as string };
    if (item.mac_address !== undefined && item.mac_address !== null) pair.mac_address = mac(item.mac_address, attribute) as string;
    checkSource(pair.ip_address, attribute);
    const key = `${pair.ip_address} ${pair.mac_address ?? ""}`;
    if (seen.has(key)) throw badRequest(`Request contains duplicate address pair: mac_address ${pair.mac_address ?? "None"} ip_address ${pair.ip_address}.`, "DuplicateAddressPairInRequest");
    seen.add(key);
    return pair;
  });
};

/** Longest binding:profile, as JSON text. */
const PROFILE_LIMIT = 4095;
const bindingProfile: Convert = (value, attribute) => {
  const given = value === null ? {} : object(value, attribute);
  if (JSON.stringify(given).length > PROFILE_LIMIT) throw invalidInput(`binding:profile value is too large, the limit is ${PROFILE_LIMIT} characters`);
  return given;
};

export const converters: Readonly<Record<string, Converter>> = {
  "address-pairs": {
    about: "addresses and MACs that a port may send from",
    form: orNull({ list: { dict: { ip_address: { check: { type: "ip-or-cidr" }, required: true }, mac_address: { check: orNull({ type: "mac" }) } } }, unique: true, max: ADDRESS_PAIRS_MAX }),
    run: addressPairs,
  },
  "binding-profile": { about: `an object of at most ${PROFILE_LIMIT} characters of JSON`, form: orNull({ type: "object" }), run: bindingProfile },
};
