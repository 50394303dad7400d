// extra_dhcp_opts of IPv6: what their names and values mean on the wire.
import { show, type AppProblem, type LiveView } from "#app";
import { encodeDhcp6Option, findDhcp6Option, PacketValueError } from "packet-codec";
import { portTable } from "../l2/model.ts";
import { portDhcpOptsTable, type DhcpOpt } from "../dhcp/model.ts";
import { PREFIX_OPTION, portPrefixTable } from "./model.ts";

/** An option by its number, as bytes. */
export interface RawOption {
  readonly option: number;
  readonly value: Buffer;
}

/** Belong to the protocol, RFC 8415 section 21: identifiers, associations and what is in them, the client's list, what relays and servers say of themselves. */
const reserved = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 18, 19, 20, 25, 26]);

/** `tag:ipxe,59`: only to clients that are iPXE already; `tag:!ipxe,59`: only to those that are not. */
const tagged = /^tag:(!?)ipxe,(.*)$/;

interface Sent extends RawOption {
  readonly ipxe: boolean | undefined;
}

/** What a client is sent for an option; undefined: nothing, since there is no such name or value. No bytes: the option is left out. */
function sent({ opt_name, opt_value }: DhcpOpt): Sent | undefined {
  const tag = tagged.exec(opt_name);
  const option = findDhcp6Option(tag === null ? opt_name : tag[2]!);
  if (option === undefined || reserved.has(option)) return undefined;
  const ipxe = tag === null ? undefined : tag[1] === "";
  if (opt_value === "") return { option, ipxe, value: Buffer.alloc(0) };
  try {
    return { option, ipxe, value: encodeDhcp6Option(option, opt_value) };
  } catch (error) {
    if (!(error instanceof PacketValueError)) throw error;
    return undefined;
  }
}

/** The port's own options for this client, by number; no bytes: not to be sent. */
export function extraOptions(opts: readonly DhcpOpt[], clientIsIpxe: boolean): Map<number, RawOption> {
  const found = new Map<number, RawOption>();
  for (const opt of opts) {
    const one = opt.ip_version === 6 ? sent(opt) : undefined;
    if (one !== undefined && (one.ipxe === undefined || one.ipxe === clientIsIpxe)) found.set(one.option, { option: one.option, value: one.value });
  }
  return found;
}

/** Options of ports that no client is sent. */
export function problems(view: LiveView): AppProblem[] {
  const found: AppProblem[] = [];
  for (const { id, opts } of view.all(portDhcpOptsTable)) {
    const delegated = view.by(portPrefixTable, "port", id).length > 0;
    const unsent = opts.filter((opt) => opt.ip_version === 6 && sent(opt) === undefined && !(delegated && opt.opt_name === PREFIX_OPTION));
    if (unsent.length === 0) continue;
    found.push({
      kind: "option_not_sent", severity: "warning", resources: [{ type: "port", id }],
      text: `port ${view.get(portTable, id)?.name || id} has DHCPv6 options that are not sent: ${unsent.map((opt) => `${show(opt.opt_name)} ${show(opt.opt_value)}`).join(", ")}`,
      cure: { text: "give names or numbers of DHCPv6 options that a server may set, with values of their type; null takes one away" },
    });
  }
  return found;
}
