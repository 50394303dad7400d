// extra_dhcp_opts of IPv6: which options a port may have, and which of them are no options.
import { extendResource, type AppProblem, type LiveView, type Tx } from "#app";
import { encodeDhcp6Option, findDhcp6Option } from "packet-codec";
import { checkRoom, portDhcpOptsTable, unsentOptions, type OptionFamily } from "../dhcp/model.ts";
import { portResource, type Port } from "../l2/model.ts";
import { PREFIX_OPTION, portPrefixTable } from "./model.ts";

export const optionsOfIpv6: OptionFamily = {
  ip_version: 6,
  protocol: "DHCPv6",
  find: findDhcp6Option,
  /** RFC 8415 section 21: identifiers, associations and what is in them, the client's list, what relays and servers say of themselves. */
  reserved: new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 18, 19, 20, 25, 26]),
  encode: encodeDhcp6Option,
  /** RFC 8415 section 21.1 */
  wireSize: (data) => 4 + data.length,
};

function check(tx: Tx, port: Port): void {
  checkRoom(optionsOfIpv6, tx.get(portDhcpOptsTable, port.id)?.opts ?? []);
}
export const extend = [extendResource(portResource, {
  create: check,
  update(tx, port, changes) {
    const given = (changes.extra_dhcp_opts ?? []) as readonly { readonly opt_value: string | null; readonly ip_version: number }[];
    // What is only taken away needs no room.
    if (given.some((opt) => opt.ip_version === 6 && opt.opt_value !== null)) check(tx, port);
  },
})];

/** Options of ports that no client is sent. */
export const problems = (view: LiveView): AppProblem[] =>
  unsentOptions(optionsOfIpv6, view, (port, name) => name === PREFIX_OPTION && view.by(portPrefixTable, "port", port).length > 0).map((p): AppProblem => ({ kind: "option_not_sent", severity: "warning", ...p }));
