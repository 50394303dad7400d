// extra_dhcp_opts as they are stored, and what of them machines are sent: for both families, which differ in the names of options and in how values are written.
import { defineTable, invalidFor, show, type AppProblem, type LiveView, type Row } from "#app";
import { PacketValueError } from "packet-codec";
import { portTable } from "../l2/model.ts";

export interface DhcpOpt {
  /** As given: a name or number of dnsmasq's, perhaps behind `tag:ipxe,` or `tag:!ipxe,`. */
  readonly opt_name: string;
  /** "" = do not send this option. */
  readonly opt_value: string;
  readonly ip_version: 4 | 6;
}

/** Options of a port that has any; `id` is the port's. */
export interface PortDhcpOpts extends Row {
  readonly opts: readonly DhcpOpt[];
}
export const portDhcpOptsTable = defineTable<PortDhcpOpts>()("port_dhcp_opts", {});

/** The options of one family. */
export interface OptionFamily {
  readonly ip_version: 4 | 6;
  /** As people call the protocol. */
  readonly protocol: "DHCP" | "DHCPv6";
  /** The code of an option by its name or number; undefined: there is none such. */
  readonly find: (name: string) => number | undefined;
  /** Belong to the protocol: no port's. */
  readonly reserved: ReadonlySet<number>;
  /** @throws PacketValueError */
  readonly encode: (code: number, text: string) => Buffer;
  /** Bytes that a value takes in a message, with what goes before it. */
  readonly wireSize: (data: Uint8Array) => number;
}

/** An option by its name, and whether it is for clients alone that are iPXE already, or are not; undefined: for all. */
interface Named {
  readonly code: number;
  readonly ipxe: boolean | undefined;
}

/** `tag:ipxe,67`: only to clients that are iPXE already; `tag:!ipxe,67`: only to those that are not. */
const tagged = /^tag:(!?)ipxe,(.*)$/;

/** undefined: no server sends it. */
export function parseName({ find, reserved }: OptionFamily, name: string): Named | undefined {
  const tag = tagged.exec(name);
  const code = find(tag === null ? name : tag[2]!);
  return code === undefined || reserved.has(code) ? undefined : { code, ipxe: tag === null ? undefined : tag[1] === "" };
}

/** What a client is sent for an option of the family; undefined: nothing, since there is no such name or value. No bytes: the option is left out. */
function sent(family: OptionFamily, { opt_name, opt_value }: DhcpOpt): (Named & { readonly bytes: Buffer }) | undefined {
  const name = parseName(family, opt_name);
  if (name === undefined) return undefined;
  if (opt_value === "") return { ...name, bytes: Buffer.alloc(0) };
  try {
    return { ...name, bytes: family.encode(name.code, opt_value) };
  } catch (error) {
    if (!(error instanceof PacketValueError)) throw error;
    return undefined;
  }
}

/** Code -> bytes of the options for this client; no bytes: not to be sent. */
export function extraOptions(family: OptionFamily, opts: readonly DhcpOpt[], clientIsIpxe: boolean): Map<number, Buffer> {
  const values = new Map<number, Buffer>();
  for (const opt of opts) {
    const found = opt.ip_version === family.ip_version ? sent(family, opt) : undefined;
    if (found !== undefined && (found.ipxe === undefined || found.ipxe === clientIsIpxe)) values.set(found.code, found.bytes);
  }
  return values;
}

/** Of a port, of both families. */
export const OPTIONS_MAX = 64;
/** Bytes of a port's options in an answer, of one family: beside addresses and routes they have room in a packet of 1,280 bytes, which every network takes (RFC 8200 section 5). */
export const OPTION_BYTES_MAX = 1024;

/** @throws ApiError 400 naming the option with which there is more than an answer has room for */
export function checkRoom(family: OptionFamily, opts: readonly DhcpOpt[]): void {
  for (const isIpxe of [false, true]) {
    let bytes = 0;
    for (const opt of opts) {
      const found = opt.ip_version === family.ip_version ? sent(family, opt) : undefined;
      if (found === undefined || (found.ipxe !== undefined && found.ipxe !== isIpxe)) continue;
      bytes += family.wireSize(found.bytes);
      if (bytes > OPTION_BYTES_MAX) throw invalidFor("extra_dhcp_opts", `with '${show(opt.opt_name)}' the ${family.protocol} options of the port take ${bytes} bytes of an answer, at most ${OPTION_BYTES_MAX} may be taken`);
    }
  }
}

/** Options of ports that no client is sent. `isElse`: those that mean something else, and are none. */
export function unsentOptions(family: OptionFamily, view: LiveView, isElse: (portId: string, name: string) => boolean = () => false): Omit<AppProblem, "kind" | "severity">[] {
  const { protocol } = family;
  return [...view.all(portDhcpOptsTable)].flatMap(({ id, opts }) => {
    const unsent = opts.filter((opt) => opt.ip_version === family.ip_version && sent(family, opt) === undefined && !isElse(id, opt.opt_name));
    if (unsent.length === 0) return [];
    return [{
      resources: [{ type: "port", id }],
      text: `port ${view.get(portTable, id)?.name || id} has ${protocol} options that are not sent: ${unsent.map((opt) => `${show(opt.opt_name)} ${show(opt.opt_value)}`).join(", ")}`,
      cure: { text: `give names or numbers of ${protocol} options that a server may set, with values of their type; null takes one away` },
    }];
  });
}
