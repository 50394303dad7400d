// What a message is called, and how long its body may be: enough to name any message of Open vSwitch by its bytes, whole or not.

import { NX_VENDOR, ONF_VENDOR, type ErrorName } from "../../wire/errors.ts";

/**
 * A kind of message: its name, the least bytes of its body, and the size of what may follow (0: nothing may, 1: any bytes).
 */
interface Kind {
  readonly name: string;
  readonly least: number;
  readonly step: number;
  /** Bytes before the body. */
  readonly head: number;
}
type Row = readonly [number: number, name: string, least: number, step: number];

const HEADER = 8;
const MULTIPART_REQUEST = 18;
const MULTIPART_REPLY = 19;
const EXPERIMENTER = 4;
const ANY_VERSION = 3;

const MESSAGES: readonly Row[] = [
  [0, "HELLO", 0, 1], [1, "ERROR", 4, 1], [2, "ECHO_REQUEST", 0, 1], [3, "ECHO_REPLY", 0, 1], [5, "FEATURES_REQUEST", 0, 0], [6, "FEATURES_REPLY", 24, 0],
  [7, "GET_CONFIG_REQUEST", 0, 0], [8, "GET_CONFIG_REPLY", 4, 0], [9, "SET_CONFIG", 4, 0], [10, "PACKET_IN", 16, 1], [11, "FLOW_REMOVED", 40, 8],
  [12, "PORT_STATUS", 72, 0], [13, "PACKET_OUT", 16, 1], [14, "FLOW_MOD", 40, 8], [15, "GROUP_MOD", 8, 8], [16, "PORT_MOD", 32, 0], [17, "TABLE_MOD", 8, 0],
  [20, "BARRIER_REQUEST", 0, 0], [21, "BARRIER_REPLY", 0, 0], [22, "QUEUE_GET_CONFIG_REQUEST", 8, 0], [23, "QUEUE_GET_CONFIG_REPLY", 8, 8],
  [24, "ROLE_REQUEST", 16, 0], [25, "ROLE_REPLY", 16, 0], [26, "GET_ASYNC_REQUEST", 0, 0], [27, "GET_ASYNC_REPLY", 24, 0], [28, "SET_ASYNC", 24, 0], [29, "METER_MOD", 8, 8],
];
const NICIRA: readonly Row[] = [
  [10, "ROLE_REQUEST", 4, 0], [11, "ROLE_REPLY", 4, 0], [13, "FLOW_MOD", 32, 8], [14, "FLOW_REMOVED", 40, 8], [15, "FLOW_MOD_TABLE_ID", 8, 0],
  [16, "SET_PACKET_IN_FORMAT", 4, 0], [17, "PACKET_IN", 24, 1], [18, "FLOW_AGE", 0, 0], [19, "SET_ASYNC_CONFIG", 24, 0], [20, "SET_CONTROLLER_ID", 8, 0],
  [24, "TLV_TABLE_MOD", 8, 8], [25, "TLV_TABLE_REQUEST", 0, 0], [26, "TLV_TABLE_REPLY", 16, 8], [27, "SET_ASYNC_CONFIG2", 0, 8], [28, "RESUME", 0, 8],
  [29, "CT_FLUSH_ZONE", 8, 0], [30, "PACKET_IN2", 0, 8], [32, "CT_FLUSH", 8, 8],
];
const ONF: readonly Row[] = [
  [1870, "FLOW_MONITOR_CANCEL", 4, 0], [1871, "FLOW_MONITOR_PAUSED", 0, 0], [1872, "FLOW_MONITOR_RESUMED", 0, 0], [1911, "ROLE_STATUS", 16, 8],
  [2300, "BUNDLE_CONTROL", 8, 8], [2301, "BUNDLE_ADD_MESSAGE", 8, 1], [2350, "REQUESTFORWARD", 8, 8],
];
/** Multipart kinds: the sizes of the request, then those of the reply. */
type MultipartRow = readonly [number: number, name: string, request: readonly [least: number, step: number], reply: readonly [least: number, step: number]];
const MULTIPARTS: readonly MultipartRow[] = [
  [0, "DESC", [0, 0], [1056, 0]], [1, "FLOW", [32, 8], [0, 1]], [2, "AGGREGATE", [32, 8], [24, 0]], [3, "TABLE", [0, 0], [0, 24]], [4, "PORT", [8, 0], [0, 112]],
  [5, "QUEUE", [8, 0], [0, 40]], [6, "GROUP", [8, 0], [0, 8]], [7, "GROUP_DESC", [0, 0], [0, 8]], [8, "GROUP_FEATURES", [0, 0], [40, 0]], [9, "METER", [8, 0], [0, 8]],
  [10, "METER_CONFIG", [8, 0], [0, 8]], [11, "METER_FEATURES", [0, 0], [16, 0]], [12, "TABLE_FEATURES", [0, 8], [64, 8]], [13, "PORT_DESC", [0, 0], [0, 64]],
];
const NICIRA_MULTIPARTS: readonly MultipartRow[] = [[3, "IPFIX_BRIDGE", [0, 0], [88, 0]], [4, "IPFIX_FLOW", [0, 0], [0, 88]]];
const ONF_MULTIPARTS: readonly MultipartRow[] = [[1870, "FLOW_MONITOR", [0, 8], [0, 8]]];

const kinds = new Map<string, Kind>();
function add(prefix: string, key: string, head: number, rows: readonly Row[]): void {
  for (const [number, name, least, step] of rows) kinds.set(`${key}${number}`, { name: `${prefix}_${name}`, least, step, head });
}
function addMultiparts(prefix: string, key: string, head: number, rows: readonly MultipartRow[]): void {
  for (const [number, name, request, reply] of rows) {
    kinds.set(`${MULTIPART_REQUEST}${key}/${number}`, { name: `${prefix}_${name} request`, least: request[0], step: request[1], head });
    kinds.set(`${MULTIPART_REPLY}${key}/${number}`, { name: `${prefix}_${name} reply`, least: reply[0], step: reply[1], head });
  }
}
add("OFPT", "", HEADER, MESSAGES);
add("NXT", `${EXPERIMENTER}/${NX_VENDOR}/`, 16, NICIRA);
add("ONFT", `${EXPERIMENTER}/${ONF_VENDOR}/`, 16, ONF);
addMultiparts("OFPST", "", 16, MULTIPARTS);
addMultiparts("NXST", `/${NX_VENDOR}`, 24, NICIRA_MULTIPARTS);
addMultiparts("ONFST", `/${ONF_VENDOR}`, 24, ONF_MULTIPARTS);

/** The name of a message by its numbers, undefined if Open vSwitch has none. */
export function messageName(type: number, multipart?: number, experimenter?: number, subtype?: number): string | undefined {
  const key = [type, ...(experimenter === undefined ? [multipart] : [experimenter, subtype])].filter((part) => part !== undefined).join("/");
  return kinds.get(key)?.name;
}

/** What a message is by its first bytes, or the error with which Open vSwitch turns it away before it reads the body. */
export function identify(bytes: Buffer): Kind | ErrorName {
  const type = bytes[1]!;
  const known = [NX_VENDOR, ONF_VENDOR];
  let key = String(type);
  let missing: ErrorName = "OFPBRC_BAD_TYPE";
  if (type === EXPERIMENTER) {
    if (bytes.length < 16) return "OFPBRC_BAD_LEN";
    const vendor = bytes.readUInt32BE(8);
    if (!known.includes(vendor)) return "OFPBRC_BAD_VENDOR";
    key += `/${vendor}/${bytes.readUInt32BE(12)}`;
    missing = "OFPBRC_BAD_SUBTYPE";
  } else if (type === MULTIPART_REQUEST || type === MULTIPART_REPLY) {
    if (bytes.length < 16) return "OFPBRC_BAD_LEN";
    const kind = bytes.readUInt16BE(8);
    missing = "OFPBRC_BAD_STAT";
    if (kind === 0xffff) {
      if (bytes.length < 24) return "OFPBRC_BAD_LEN";
      const vendor = bytes.readUInt32BE(16);
      if (!known.includes(vendor)) return "OFPBRC_BAD_VENDOR";
      key += `/${vendor}/${bytes.readUInt32BE(20)}`;
      missing = "OFPBRC_BAD_SUBTYPE";
    } else key += `/${kind}`;
  }
  // Of other versions no more is known here than that they have the first four messages.
  return (bytes[0] === 4 || type <= ANY_VERSION ? kinds.get(key) : undefined) ?? missing;
}

/** Whether the length of a whole message is possible for its kind. */
export function fits(kind: Kind, length: number): boolean {
  const more = length - kind.head - kind.least;
  return more === 0 || (more > 0 && kind.step > 0 && more % kind.step === 0);
}

const VERSIONS: Readonly<Record<number, string>> = { 1: "", 2: " (OF1.1)", 3: " (OF1.2)", 4: " (OF1.3)", 5: " (OF1.4)", 6: " (OF1.5)" };

/** "OFPT_HELLO (OF1.3) (xid=0x1):", the xid if it is asked for. */
export function headerText(name: string, version: number, xid: number | undefined): string {
  return `${name}${VERSIONS[version] ?? ` (OF 0x${version.toString(16).padStart(2, "0")})`}${xid === undefined ? "" : ` (xid=0x${xid.toString(16)})`}:`;
}
