// extra_dhcp_opts: the attribute on ports, and which options of IPv4 there are.
import { asList, conflict, extendResource, invalidFor, isObject, makeCheck, orNull, reference, show, type Check, type Convert, type Converter, type Values } from "#app";
import { encodeDhcpOption, findDhcpOption } from "packet-codec";
import { portResource, portTable } from "../l2/model.ts";
import { checkRoom, OPTIONS_MAX, parseName, portDhcpOptsTable, type DhcpOpt, type OptionFamily } from "./port-options.ts";

/** What a request may say: null deletes. */
interface Given {
  readonly opt_name: string;
  readonly opt_value: string | null;
  readonly ip_version: 4 | 6;
}

/** `siaddr`, which dnsmasq names like an option. */
export const SIADDR = 255;
export const optionsOfIpv4: OptionFamily = {
  ip_version: 4,
  protocol: "DHCP",
  find: (name) => findDhcpOption(name)?.code,
  /** Requested address, overload, message type, server id, request list, maximum size, client id, rapid commit, relay. */
  reserved: new Set([50, 52, 53, 54, 55, 57, 61, 80, 82]),
  encode: encodeDhcpOption,
  /** Long options are split, each part with a header. RFC 3396 */
  wireSize: (data) => data.length + 2 * Math.max(1, Math.ceil(data.length / 255)),
};
/** Options that an empty value keeps from being sent: router and classless routes. */
const mayBeEmpty = new Set([3, 121, 249]);

/** Characters of a value. */
const VALUE_MAX = 255;
const SHAPE: Check = {
  dict: {
    opt_name: { check: { type: "string", max: 64, blank: false }, required: true },
    opt_value: { check: orNull({ type: "string", max: VALUE_MAX }), required: true },
    ip_version: { check: { enum: [4, 6] }, default: 4 },
  },
};
/** Names and values are kept as they are: what cannot be sent is not, and `problems` says so. */
const shape = makeCheck(SHAPE);
const option: Convert = (value, attribute) => {
  // Said by its option's name, of which there may be many.
  if (isObject(value) && typeof value.opt_value === "string" && Array.from(value.opt_value).length > VALUE_MAX) throw invalidFor(attribute, `the value of DHCP option '${show(value.opt_name)}' has more than ${VALUE_MAX} characters`);
  const given = shape(value, attribute) as Given;
  if (given.opt_value === "" && !mayBeEmpty.has(parseName(optionsOfIpv4, given.opt_name)?.code ?? 0)) throw invalidFor(attribute, `the value of DHCP option '${show(given.opt_name)}' is empty`);
  return given;
};

const key = (opt: Given): string => `${opt.ip_version} ${opt.opt_name}`;

/** null changes nothing, like []. */
export const extraDhcpOpts: Convert = (value, attribute) => {
  if (value === null) return [];
  const list = asList(value, attribute, OPTIONS_MAX).map((item) => option(item, attribute) as Given);
  const twice = list.find((opt, i) => list.findIndex((o) => key(o) === key(opt)) !== i);
  if (twice !== undefined) {
    throw conflict("NeutronDbObjectDuplicateEntry", `Failed to create a duplicate ExtraDhcpOpt: for attribute(s) ['opt_name', 'ip_version'] with value(s) ${twice.opt_name}, ${twice.ip_version}`);
  }
  return list;
};

export const converters: Readonly<Record<string, Converter>> = {
  "extra-dhcp-opts": { about: "DHCP options, none twice", form: orNull({ list: SHAPE }), run: extraDhcpOpts },
};

/** Listed options replace those of the same name and family, null deletes them, the rest stay. @throws ApiError 400 when there are too many, or too long ones */
export function merge(now: readonly DhcpOpt[], given: readonly Given[]): DhcpOpt[] {
  const merged = new Map(now.map((opt) => [key(opt), opt]));
  for (const opt of given) {
    if (opt.opt_value === null) merged.delete(key(opt));
    else merged.set(key(opt), { ...opt, opt_value: opt.opt_value });
  }
  const opts = [...merged.values()];
  // It may have more from when nobody counted them: less is no worse.
  if (given.every((opt) => opt.opt_value === null)) return opts;
  const beyond = opts[OPTIONS_MAX];
  if (beyond !== undefined) throw invalidFor("extra_dhcp_opts", `with '${show(beyond.opt_name)}' the port would have ${opts.length} options, at most ${OPTIONS_MAX} may be given`);
  checkRoom(optionsOfIpv4, opts);
  return opts;
}

const given = (values: Values): readonly Given[] => (values.extra_dhcp_opts ?? []) as readonly Given[];

export const references = [reference(portDhcpOptsTable, { to: portTable, ids: (p) => p.id, gone: (tx, p) => tx.delete(portDhcpOptsTable, p.id) })];

export const portExtension = extendResource(portResource, {
  attributes: {
    extra_dhcp_opts: {
      type: "object[]",
      about: "DHCP options of this port: opt_name (dnsmasq's name or a number), opt_value (null deletes), ip_version; they override the subnet's",
      alias: "extra_dhcp_opt",
      post: true,
      put: true,
      default: null,
      check: { convert: "extra-dhcp-opts" },
    },
  },
  create(tx, port, input) {
    const opts = merge([], given(input));
    if (opts.length > 0) tx.put(portDhcpOptsTable, { id: port.id, opts });
  },
  update(tx, port, changes) {
    const list = given(changes);
    if (list.length === 0) return;
    const before = tx.get(portDhcpOptsTable, port.id);
    const opts = merge(before?.opts ?? [], list);
    if (opts.length > 0) tx.put(portDhcpOptsTable, { id: port.id, opts });
    else if (before !== undefined) tx.delete(portDhcpOptsTable, port.id);
  },
  remove(tx, port) {
    if (tx.get(portDhcpOptsTable, port.id) !== undefined) tx.delete(portDhcpOptsTable, port.id);
  },
  present: (view, port) => ({ extra_dhcp_opts: view.get(portDhcpOptsTable, port.id)?.opts ?? [] }),
});
