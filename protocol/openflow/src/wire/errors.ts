// What can go wrong, typed. One error class with a stable `code`; the peer's own errors carry the names that the
// specification and Open vSwitch give them, looked up in the registry at the end of this file.

/**
 * - OF_TRUNCATED: bytes ended early.            OF_MALFORMED: a length, class or type contradicts the layout.
 * - OF_VERSION: not version 4.                  OF_VALUE: the caller gave a value that has no wire form.
 * - OF_TEXT: text that names no flow, match or action.
 * - OF_PEER_ERROR: the peer refused a request.  OF_TIMEOUT: it did not answer in time.
 * - OF_DEAD_PEER: echo requests went unanswered. OF_HELLO: no common version, or no hello.
 * - OF_CLOSED: the connection is closed.        OF_QUEUE_FULL: the peer reads too slowly, maxQueuedBytes reached.
 * - OF_LIMIT: the peer sent more than an option allows. OF_SOCKET: the transport failed, see `cause`.
 */
export type OpenFlowErrorCode =
  | "OF_TRUNCATED"
  | "OF_MALFORMED"
  | "OF_VERSION"
  | "OF_VALUE"
  | "OF_TEXT"
  | "OF_PEER_ERROR"
  | "OF_TIMEOUT"
  | "OF_DEAD_PEER"
  | "OF_HELLO"
  | "OF_CLOSED"
  | "OF_QUEUE_FULL"
  | "OF_LIMIT"
  | "OF_SOCKET";

export interface OpenFlowErrorDetails {
  /** Byte offset in the buffer given to the decoder where reading stopped making sense. */
  readonly offset?: number;
  /** ofp_error_msg type that the peer sent, or that a switch would answer to undecodable bytes; for experimenter errors the experimenter's own type. */
  readonly type?: number;
  /** ofp_error_msg code; 0 for experimenter errors, which only have a type. */
  readonly errorCode?: number;
  readonly experimenter?: number;
  /** "OFPBMC_BAD_FIELD", or "type.code" in digits if unknown. */
  readonly errorName?: string;
  /** OF_PEER_ERROR: the first bytes of the refused message, unless that was in a bundle. */
  readonly data?: Buffer;
  readonly xid?: number;
  /** Bundles: index of the inner message that the switch refused. */
  readonly index?: number;
  readonly cause?: unknown;
}

/** The only thing this package throws, rejects with, or hands to "close". */
export class OpenFlowError extends Error {
  readonly code: OpenFlowErrorCode;
  /** The message without its offset. */
  readonly reason: string;
  readonly offset: number | undefined;
  readonly type: number | undefined;
  readonly errorCode: number | undefined;
  readonly experimenter: number | undefined;
  readonly errorName: string | undefined;
  readonly data: Buffer | undefined;
  readonly xid: number | undefined;
  readonly index: number | undefined;
  /** The switch has not opened the bundle: that says nothing of what is in it. */
  unopened = false;

  constructor(code: OpenFlowErrorCode, message: string, details: OpenFlowErrorDetails = {}) {
    super(details.offset === undefined ? message : `${message} at byte ${details.offset}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "OpenFlowError";
    this.code = code;
    this.reason = message;
    this.offset = details.offset;
    this.type = details.type;
    this.errorCode = details.errorCode;
    this.experimenter = details.experimenter;
    this.errorName = details.errorName;
    this.data = details.data;
    this.xid = details.xid;
    this.index = details.index;
  }
}

/** Bytes that a switch would refuse with the error of that name. */
export function refusal(name: ErrorName, offset: number, reason: string, code: OpenFlowErrorCode = "OF_MALFORMED"): OpenFlowError {
  return new OpenFlowError(code, reason, { offset, errorName: name, ...errorNumbers(name) });
}

export function truncated(offset: number, what: string, name: ErrorName = "OFPBRC_BAD_LEN"): OpenFlowError {
  return refusal(name, offset, `${what} ends early`, "OF_TRUNCATED");
}

export function malformed(offset: number, what: string, name: ErrorName = "OFPBRC_BAD_LEN"): OpenFlowError {
  return refusal(name, offset, what);
}

export function badValue(what: string): OpenFlowError {
  return new OpenFlowError("OF_VALUE", what);
}

export const NX_VENDOR = 0x00002320;
export const ONF_VENDOR = 0x4f4e4600;
export const ERROR_TYPE_EXPERIMENTER = 0xffff;

/** Error types of OpenFlow 1.3.5 section 7.4.4, with their codes by position; "" leaves a number out. */
const STANDARD = {
  0: ["OFPET_HELLO_FAILED", "OFPHFC", "INCOMPATIBLE EPERM"],
  1: ["OFPET_BAD_REQUEST", "OFPBRC",
      "BAD_VERSION BAD_TYPE BAD_STAT BAD_VENDOR BAD_SUBTYPE EPERM BAD_LEN BUFFER_EMPTY BUFFER_UNKNOWN BAD_TABLE_ID IS_SECONDARY BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW"],
  2: ["OFPET_BAD_ACTION", "OFPBAC",
      "BAD_TYPE BAD_LEN BAD_VENDOR BAD_VENDOR_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM TOO_MANY BAD_QUEUE BAD_OUT_GROUP MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE BAD_SET_LEN BAD_SET_ARGUMENT"],
  3: ["OFPET_BAD_INSTRUCTION", "OFPBIC",
      "UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK BAD_EXPERIMENTER BAD_EXP_TYPE BAD_LEN EPERM DUP_INST"],
  4: ["OFPET_BAD_MATCH", "OFPBMC",
      "BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS BAD_FIELD BAD_VALUE BAD_MASK BAD_PREREQ DUP_FIELD EPERM"],
  5: ["OFPET_FLOW_MOD_FAILED", "OFPFMFC", "UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS"],
  6: ["OFPET_GROUP_MOD_FAILED", "OFPGMFC",
      "GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS CHAINING_UNSUPPORTED WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND BAD_BUCKET BAD_WATCH EPERM"],
  7: ["OFPET_PORT_MOD_FAILED", "OFPPMFC", "BAD_PORT BAD_HW_ADDR BAD_CONFIG BAD_ADVERTISE EPERM"],
  8: ["OFPET_TABLE_MOD_FAILED", "OFPTMFC", "BAD_TABLE BAD_CONFIG EPERM"],
  9: ["OFPET_QUEUE_OP_FAILED", "OFPQOFC", "BAD_PORT BAD_QUEUE EPERM"],
  10: ["OFPET_SWITCH_CONFIG_FAILED", "OFPSCFC", "BAD_FLAGS BAD_LEN EPERM"],
  11: ["OFPET_ROLE_REQUEST_FAILED", "OFPRRFC", "STALE UNSUP BAD_ROLE"],
  12: ["OFPET_METER_MOD_FAILED", "OFPMMFC",
       "UNKNOWN METER_EXISTS INVALID_METER UNKNOWN_METER BAD_COMMAND BAD_FLAGS BAD_RATE BAD_BURST BAD_BAND BAD_BAND_VALUE OUT_OF_METERS OUT_OF_BANDS"],
  13: ["OFPET_TABLE_FEATURES_FAILED", "OFPTFFC", "BAD_TABLE BAD_METADATA BAD_TYPE BAD_LEN BAD_ARGUMENT EPERM BAD_CAPA BAD_MAX_ENT BAD_FEATURES BAD_COMMAND TOO_MANY"],
} as const satisfies Readonly<Record<number, readonly [type: string, prefix: string, codes: string]>>;

/** Experimenter errors only have a type (`exp_type`): names as Open vSwitch gives them. */
const EXPERIMENTER = {
  [ONF_VENDOR]: {
    2300: "OFPBFC_UNKNOWN", 2301: "OFPBFC_EPERM", 2302: "OFPBFC_BAD_ID", 2303: "OFPBFC_BUNDLE_EXIST", 2304: "OFPBFC_BUNDLE_CLOSED",
    2305: "OFPBFC_OUT_OF_BUNDLES", 2306: "OFPBFC_BAD_TYPE", 2307: "OFPBFC_BAD_FLAGS", 2308: "OFPBFC_MSG_BAD_LEN", 2309: "OFPBFC_MSG_BAD_XID",
    2310: "OFPBFC_MSG_UNSUP", 2311: "OFPBFC_MSG_CONFLICT", 2312: "OFPBFC_MSG_TOO_MANY", 2313: "OFPBFC_MSG_FAILED", 2314: "OFPBFC_TIMEOUT",
    2315: "OFPBFC_BUNDLE_IN_PROGRESS", 2360: "OFPFMFC_BAD_PRIORITY", 2370: "OFPACFC_INVALID", 2371: "OFPACFC_UNSUPPORTED",
    2372: "OFPACFC_EPERM", 2600: "OFPBIC_DUP_INST",
    2640: "OFPBRC_MULTIPART_REQUEST_TIMEOUT", 2641: "OFPBRC_MULTIPART_REPLY_TIMEOUT", 4250: "OFPBAC_BAD_SET_MASK", 4443: "OFPBPC_TOO_MANY",
    4444: "OFPBPC_DUP_TYPE", 4445: "OFPBPC_BAD_EXPERIMENTER", 4446: "OFPBPC_BAD_EXP_TYPE", 4447: "OFPBPC_BAD_EXP_VALUE", 4448: "OFPBPC_EPERM",
  },
  [NX_VENDOR]: {
    2: "NXBRC_NXM_INVALID", 3: "NXBRC_NXM_BAD_TYPE", 4: "NXBRC_MUST_BE_ZERO", 5: "NXBRC_BAD_REASON", 6: "OFPMOFC_MONITOR_EXISTS",
    7: "OFPMOFC_BAD_FLAGS", 8: "OFPMOFC_UNKNOWN_MONITOR", 9: "NXBRC_FM_BAD_EVENT", 10: "NXBRC_UNENCODABLE_ERROR", 11: "NXBAC_MUST_BE_ZERO",
    12: "NXFMFC_HARDWARE", 13: "NXFMFC_BAD_TABLE_ID", 15: "NXBAC_BAD_CONJUNCTION", 16: "NXTTMFC_BAD_COMMAND", 17: "NXTTMFC_BAD_OPT_LEN",
    18: "NXTTMFC_BAD_FIELD_IDX", 19: "NXTTMFC_TABLE_FULL", 20: "NXTTMFC_ALREADY_MAPPED", 21: "NXTTMFC_DUP_ENTRY",
    22: "OFPBFC_BAD_VERSION", 34: "NXR_NOT_SUPPORTED", 35: "NXR_STALE", 36: "NXST_NOT_CONFIGURED", 37: "NXFMFC_INVALID_TLV_FIELD",
    38: "NXTTMFC_INVALID_TLV_DEL", 39: "NXBAC_BAD_HEADER_TYPE", 40: "NXBAC_UNKNOWN_ED_PROP", 41: "NXBAC_BAD_ED_PROP",
    42: "NXBAC_CT_DATAPATH_SUPPORT", 43: "NXBMC_CT_DATAPATH_SUPPORT", 44: "NXTFFC_DUP_TABLE",
  },
} as const satisfies Readonly<Record<number, Readonly<Record<number, string>>>>;

/** Where Open vSwitch gives an error of type 13 the name that later versions have for it. */
const LATER_NAMES = { 2: "OFPBPC_BAD_TYPE", 3: "OFPBPC_BAD_LEN", 4: "OFPBPC_BAD_VALUE" } as const;

type Words<T extends string> = T extends `${infer Head} ${infer Tail}` ? Head | Words<Tail> : T;
type Standard = typeof STANDARD;
type StandardName = { [T in keyof Standard]: `${Standard[T][1]}_${Words<Standard[T][2]>}` }[keyof Standard];
type Extended = typeof EXPERIMENTER;
type ExtendedName = { [V in keyof Extended]: Extended[V][keyof Extended[V]] }[keyof Extended];
/** Every error by its name. */
export type ErrorName = StandardName | Extract<ExtendedName, string> | (typeof LATER_NAMES)[keyof typeof LATER_NAMES];

interface Numbers {
  readonly type: number;
  readonly errorCode: number;
  readonly experimenter?: number;
}

const numbers = new Map<string, Numbers>();
for (const [type, [, prefix, codes]] of Object.entries(STANDARD)) {
  codes.split(" ").forEach((code, i) => numbers.set(`${prefix}_${code}`, { type: Number(type), errorCode: i }));
}
for (const [code, name] of Object.entries(LATER_NAMES)) numbers.set(name, { type: 13, errorCode: Number(code) });
for (const [vendor, types] of Object.entries(EXPERIMENTER)) {
  for (const [type, name] of Object.entries(types)) numbers.set(name, { type: Number(type), errorCode: 0, experimenter: Number(vendor) });
}

/** Type, code and experimenter of an error by its name. */
export function errorNumbers(name: ErrorName): Numbers {
  return numbers.get(name)!;
}

/** Name of an error as the specification and Open vSwitch spell it; digits when there is none. */
export function errorName(type: number, code: number, experimenter?: number): string {
  if (experimenter !== undefined) {
    const names: Readonly<Record<number, string>> | undefined = (EXPERIMENTER as Readonly<Record<number, Readonly<Record<number, string>>>>)[experimenter];
    return names?.[type] ?? `0x${experimenter.toString(16)}.${type}`;
  }
  const entry = (STANDARD as Readonly<Record<number, readonly [string, string, string]>>)[type];
  if (entry === undefined) return `${type}.${code}`;
  if (type === 13 && code in LATER_NAMES) return LATER_NAMES[code as keyof typeof LATER_NAMES];
  const name = entry[2].split(" ")[code];
  return name === undefined ? `${entry[0]}.${code}` : `${entry[1]}_${name}`;
}

/** One line for a refusal: `error: OFPET_BAD_MATCH/OFPBMC_BAD_LEN at 56: ...`. Errors without a name in the specification give their code. */
export function formatRefusal(error: OpenFlowError): string {
  const { type, experimenter, errorName: name, code } = error;
  const kind = name === undefined || type === undefined ? code
    : experimenter !== undefined ? "OFPET_EXPERIMENTER" : (STANDARD as Readonly<Record<number, readonly [string, string, string]>>)[type]?.[0] ?? String(type);
  return `error: ${kind}/${name ?? code} at ${error.offset ?? 0}: ${error.reason}`;
}
