// Every message as data: its number and the layout of its body. A number with names ("add", "delete") also takes and gives numbers
// that have none.

import { ctFlush } from "./ct-flush.ts";
import { NX_VENDOR, ONF_VENDOR, OpenFlowError } from "../wire/errors.ts";
import { ALL_TABLES, NO_BUFFER, ports } from "../match/fields.ts";
import { flowModCommands } from "./flow-mod.ts";
import { flowMonitor, flowUpdates, nxFlowMonitor, nxFlowUpdates } from "./flow-monitor.ts";
import { hex64, length16, list, looseMatch, mac, match, named, pad, rest, slack, struct, text, u16, u32, u32s, u64, u8, type Part } from "../layout/layout.ts";
import {
  bandHead, configFlags, flowEntry, flowFlags, flowModHead, flowModTail, groupMod, knownError, meterCommand, meterFlags, namedCheck, packetOutSource, portCheck, queuePort,
  queueReply, tlvMaps,
} from "./check.ts";
import { actions, bandTail, countedActions, errorExperimenter, helloElements, instructions, nxFlowMod, nxFlowRemoved, nxtPacketIn, packetIn2, resumed } from "./parts.ts";
import { properties } from "../layout/properties.ts";
import { tableFeatures, tableFeaturesRequest } from "./table-features.ts";

// --- shared structures ---

const bucket = [length16, u16("weight", 0), u32("watch_port", ports.ANY), u32("watch_group", ports.ANY), pad(4), actions, portCheck("watch_port", 0, "OFPGMFC_BAD_WATCH")] as const;
const buckets = list("buckets", bucket, 0, 1, "OFPGMFC_BAD_BUCKET");
const groupType = named(1, "group_type", { all: 0, select: 1, indirect: 2, ff: 3 });
const bands = list("bands", [named(2, "type", { drop: 1, dscp_remark: 2, experimenter: 0xffff }), length16, bandHead, u32("rate"), u32("burst_size", 0), bandTail, rest("data")] as const, 2);
/** A delete needs no bands, and nobody looks at them: what is none is left as it is. */
const junk = slack(0);
const meterBands: typeof bands = {
  ...bands,
  encode: (buf, off, obj) => junk.encode(buf, bands.encode(buf, off, obj), obj),
  decode(buf, off, end, obj) {
    if (obj["command"] !== "delete") return bands.decode(buf, off, end, obj);
    try {
      return bands.decode(buf, off, end, obj);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      obj["bands"] = [];
      return junk.decode(buf, off, end, obj);
    }
  },
};
const port = [
  u32("port_no"), portCheck("port_no"), pad(4), mac("hw_addr"), pad(2), text("name", 16), u32("config"), u32("state"), u32("curr"), u32("advertised"),
  u32("supported"), u32("peer"), u32("curr_speed"), u32("max_speed"),
] as const;
const roles = { nochange: 0, equal: 1, master: 2, slave: 3 } as const;
const role = [named(4, "role", roles), namedCheck("role", 4, "OFPRRFC_BAD_ROLE"), pad(4), u64("generation_id", 0n)] as const;
/** Bit masks of reasons; first for master and equal, second for slave. */
const async = [u32s("packet_in_mask", 2), u32s("port_status_mask", 2), u32s("flow_removed_mask", 2)] as const;
const config = [u16("flags", 0), u16("miss_send_len", 0xffff)] as const;
const packetInReason = { no_match: 0, action: 1, invalid_ttl: 2 } as const;
const flowRemovedReason = { idle_timeout: 0, hard_timeout: 1, delete: 2, group_delete: 3 } as const;
const flowFilter = [u8("table_id", ALL_TABLES), pad(3), u32("out_port", ports.ANY), portCheck("out_port"), u32("out_group", ports.ANY), pad(4), u64("cookie", 0n), u64("cookie_mask", 0n), match, slack(0)] as const;
const flowModCommand = named(1, "command", flowModCommands);
const reasons = [u32("mask"), slack(0)] as const;
const asyncProperties = {
  packet_in_slave: [0, reasons], packet_in_master: [1, reasons], port_status_slave: [2, reasons], port_status_master: [3, reasons],
  flow_removed_slave: [4, reasons], flow_removed_master: [5, reasons], role_status_slave: [6, reasons], role_status_master: [7, reasons],
  table_status_slave: [8, reasons], table_status_master: [9, reasons], requestforward_slave: [10, reasons], requestforward_master: [11, reasons],
} as const;
/** Rates in tenths of a percent of the port's, 0xffff for none. */
const queueProperties = properties("properties", {
  min_rate: [1, [pad(4), u16("rate"), pad(6)]],
  max_rate: [2, [pad(4), u16("rate"), pad(6)]],
  experimenter: [0xffff, [pad(4), u32("experimenter"), pad(4), rest("data")]],
} as const, { align: 1, badLength: "OFPBRC_BAD_LEN" });
const ipfix = [
  u64("total_flows"), u64("current_flows"), u64("pkts"), u64("ipv4_pkts"), u64("ipv6_pkts"), u64("error_pkts"), u64("ipv4_error_pkts"), u64("ipv6_error_pkts"),
  u64("tx_pkts"), u64("tx_errors"), u32("collector_set_id"), pad(4),
] as const;
const nxRole = [named(4, "role", { other: 0, master: 1, slave: 2 }), namedCheck("role", 4, "OFPRRFC_BAD_ROLE")] as const;
const maps = list("maps", [u16("option_class"), u8("option_type"), u8("option_len"), u16("index"), pad(2)] as const);

// --- the tables ---

export interface Def<L extends readonly Part[]> {
  readonly code: number;
  readonly layout: L;
}
const msg = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ code, layout });

export const messages = {
  hello: msg(0, helloElements),
  /** For error_type 0xffff, `code` is the experimenter's type. */
  error: msg(1, u16("error_type"), u16("code"), errorExperimenter, knownError, rest("data")),
  echo_request: msg(2, rest("data")),
  echo_reply: msg(3, rest("data")),
  features_request: msg(5),
  features_reply: msg(6, hex64("datapath_id"), u32("n_buffers"), u8("n_tables"), u8("auxiliary_id", 0), pad(2), u32("capabilities"), u32("reserved", 0)),
  get_config_request: msg(7),
  get_config_reply: msg(8, ...config),
  set_config: msg(9, ...config, configFlags),
  packet_in: msg(10, u32("buffer_id"), u16("total_len"), named(1, "reason", packetInReason), u8("table_id"), u64("cookie"), looseMatch, pad(2), rest("data")),
  flow_removed: msg(
    11, u64("cookie"), u16("priority"), named(1, "reason", flowRemovedReason), u8("table_id"), u32("duration_sec"), u32("duration_nsec"),
    u16("idle_timeout"), u16("hard_timeout"), u64("packet_count"), u64("byte_count"), match, slack(0),
  ),
  port_status: msg(12, named(1, "reason", { add: 0, delete: 1, modify: 2 }), namedCheck("reason", 1, "NXBRC_BAD_REASON"), pad(7), struct("desc", port)),
  packet_out: msg(13, u32("buffer_id", NO_BUFFER), u32("in_port", ports.CONTROLLER), portCheck("in_port"), countedActions, packetOutSource, rest("data")),
  flow_mod: msg(
    14, u64("cookie", 0n), u64("cookie_mask", 0n), u8("table_id", 0), flowModCommand, u16("idle_timeout", 0), u16("hard_timeout", 0),
    u16("priority", 0x8000), u32("buffer_id", NO_BUFFER), u32("out_port", ports.ANY), u32("out_group", ports.ANY), u16("flags", 0), pad(2), match, flowModHead, instructions, flowModTail,
  ),
  group_mod: msg(15, named(2, "command", { add: 0, modify: 1, delete: 2, add_or_modify: 0x8000 }), groupType, pad(1), u32("group_id"), buckets, groupMod),
  port_mod: msg(16, u32("port_no"), portCheck("port_no"), pad(4), mac("hw_addr"), pad(2), u32("config"), u32("mask"), u32("advertise", 0), pad(4)),
  table_mod: msg(17, u8("table_id"), pad(3), u32("config")),
  barrier_request: msg(20),
  barrier_reply: msg(21),
  queue_get_config_request: msg(22, u32("port"), portCheck("port"), pad(4), queuePort),
  queue_get_config_reply: msg(
    23, u32("port"), pad(4), queueReply,
    list("queues", [u32("queue_id"), u32("port"), length16, pad(6), queueProperties] as const, 8),
  ),
  role_request: msg(24, ...role),
  role_reply: msg(25, ...role),
  get_async_request: msg(26),
  get_async_reply: msg(27, ...async),
  set_async: msg(28, ...async),
  meter_mod: msg(29, named(2, "command", { add: 0, modify: 1, delete: 2 }), u16("flags"), u32("meter_id"), meterCommand, meterFlags, meterBands),
} as const satisfies Record<string, Def<readonly Part[]>>;

export interface ExpDef<L extends readonly Part[]> extends Def<L> {
  readonly vendor: number;
}
const exp = <const L extends readonly Part[]>(vendor: number, code: number, ...layout: L): ExpDef<L> => ({ vendor, code, layout });
const bundleType = {
  open_request: 0, open_reply: 1, close_request: 2, close_reply: 3, commit_request: 4, commit_reply: 5, discard_request: 6, discard_reply: 7,
} as const;

export const experimenters = {
  bundle_control: exp(ONF_VENDOR, 2300, u32("bundle_id"), named(2, "ctrl_type", bundleType), u16("flags"), rest("properties")),
  /** `message` is a whole OpenFlow message with the same xid. */
  bundle_add: exp(ONF_VENDOR, 2301, u32("bundle_id"), pad(2), u16("flags"), rest("message")),
  nxt_role_request: exp(NX_VENDOR, 10, ...nxRole),
  nxt_role_reply: exp(NX_VENDOR, 11, ...nxRole),
  flow_mod_table_id: exp(NX_VENDOR, 15, u8("set"), pad(7)),
  set_packet_in_format: exp(NX_VENDOR, 16, named(4, "format", { standard: 0, nxt_packet_in: 1, nxt_packet_in2: 2 }), namedCheck("format", 4, "OFPBRC_EPERM")),
  nxt_packet_in: exp(NX_VENDOR, 17, nxtPacketIn),
  flow_monitor_cancel: exp(ONF_VENDOR, 1870, u32("id")),
  /** The switch tells of no more changes until flow_monitor_resumed, as they come too fast. */
  flow_monitor_paused: exp(ONF_VENDOR, 1871),
  flow_monitor_resumed: exp(ONF_VENDOR, 1872),
  role_status: exp(ONF_VENDOR, 1911, named(4, "role", roles), namedCheck("role", 4, "OFPRRFC_BAD_ROLE"), named(1, "reason", { master_request: 0, config: 1, experimenter: 2 }), pad(3), u64("generation_id"), rest("properties")),
  /** What another controller asked for: a whole group-mod or meter-mod. */
  requestforward: exp(ONF_VENDOR, 2350, rest("request")),
  /** A flow-mod with its match in NXM form. */
  nxt_flow_mod: exp(NX_VENDOR, 13, nxFlowMod),
  nxt_flow_removed: exp(NX_VENDOR, 14, nxFlowRemoved),
  nxt_flow_age: exp(NX_VENDOR, 18),
  nxt_set_async: exp(NX_VENDOR, 19, ...async),
  nxt_set_async2: exp(NX_VENDOR, 27, properties("properties", asyncProperties, { badType: "OFPACFC_UNSUPPORTED", experimenters: 0xfffe })),
  /** Flow monitors as they were before OpenFlow 1.3. */
  nxt_flow_monitor_cancel: exp(NX_VENDOR, 21, u32("id")),
  nxt_flow_monitor_paused: exp(NX_VENDOR, 22),
  nxt_flow_monitor_resumed: exp(NX_VENDOR, 23),
  set_controller_id: exp(NX_VENDOR, 20, pad(6), u16("controller_id")),
  tlv_table_mod: exp(NX_VENDOR, 24, named(2, "command", { add: 0, delete: 1, clear: 2 }), namedCheck("command", 2, "NXTTMFC_BAD_COMMAND"), pad(6), maps, tlvMaps(() => 64)),
  tlv_table_request: exp(NX_VENDOR, 25),
  tlv_table_reply: exp(NX_VENDOR, 26, u32("max_option_space"), u16("max_fields"), pad(10), maps, tlvMaps((obj) => obj["max_fields"] as number)),
  /** Continues a packet that a controller action paused. */
  nxt_resume: exp(NX_VENDOR, 28, resumed),
  ct_flush_zone: exp(NX_VENDOR, 29, pad(6), u16("zone_id")),
  ct_flush: exp(NX_VENDOR, 32, ...ctFlush),
  nxt_packet_in2: exp(NX_VENDOR, 30, packetIn2),
} as const satisfies Record<string, ExpDef<readonly Part[]>>;

export interface MultipartDef<Q extends readonly Part[], R extends readonly Part[]> {
  readonly code: number;
  /** Multiparts of experimenters: whose, and `code` is its own number. */
  readonly vendor?: number;
  readonly request: Q;
  readonly reply: R;
  /** Name of the list that the parts of a split reply share. */
  readonly joins?: string;
}
const mp = <const Q extends readonly Part[], const R extends readonly Part[]>(code: number, request: Q, reply: R, joins?: string): MultipartDef<Q, R> =>
  ({ code, request, reply, ...(joins === undefined ? {} : { joins }) });
const mpx = <const Q extends readonly Part[], const R extends readonly Part[]>(vendor: number, code: number, request: Q, reply: R, joins?: string): MultipartDef<Q, R> =>
  ({ ...mp(code, request, reply, joins), vendor });
const duration = [u32("duration_sec"), u32("duration_nsec")] as const;
export const experimenterBody = [u32("experimenter"), u32("exp_type"), rest("data")] as const;

export const multiparts = {
  desc: mp(0, [], [text("mfr_desc", 256), text("hw_desc", 256), text("sw_desc", 256), text("serial_num", 32), text("dp_desc", 256)]),
  flow: mp(1, flowFilter, [list("flows", [
    length16, u8("table_id"), pad(1), ...duration, u16("priority"), u16("idle_timeout"), u16("hard_timeout"), u16("flags"), pad(4), u64("cookie"),
    u64("packet_count"), u64("byte_count"), match, flowFlags, instructions,
  ] as const, 0, 1, "OFPBRC_BAD_LEN", flowEntry)], "flows"),
  aggregate: mp(2, flowFilter, [u64("packet_count"), u64("byte_count"), u32("flow_count"), pad(4)]),
  table: mp(3, [], [list("tables", [u8("table_id"), pad(3), u32("active_count"), u64("lookup_count"), u64("matched_count")] as const)], "tables"),
  port_stats: mp(4, [u32("port_no", ports.ANY), portCheck("port_no"), pad(4)], [list("ports", [
    u32("port_no"), portCheck("port_no"), pad(4), u64("rx_packets"), u64("tx_packets"), u64("rx_bytes"), u64("tx_bytes"), u64("rx_dropped"), u64("tx_dropped"),
    u64("rx_errors"), u64("tx_errors"), u64("rx_frame_err"), u64("rx_over_err"), u64("rx_crc_err"), u64("collisions"), ...duration,
  ] as const)], "ports"),
  queue: mp(5, [u32("port_no", ports.ANY), portCheck("port_no"), u32("queue_id", 0xffffffff)], [list("queues", [
    u32("port_no"), portCheck("port_no"), u32("queue_id"), u64("tx_bytes"), u64("tx_packets"), u64("tx_errors"), ...duration,
  ] as const)], "queues"),
  group: mp(6, [u32("group_id", 0xfffffffc), pad(4)], [list("groups", [
    length16, pad(2), u32("group_id"), u32("ref_count"), pad(4), u64("packet_count"), u64("byte_count"), ...duration,
    list("bucket_stats", [u64("packet_count"), u64("byte_count")] as const),
  ] as const, 0)], "groups"),
  group_desc: mp(7, [rest("body")], [list("groups", [length16, groupType, pad(1), u32("group_id"), buckets] as const, 0)], "groups"),
  group_features: mp(8, [], [u32("types"), u32("capabilities"), u32s("max_groups", 4), u32s("actions", 4)]),
  meter: mp(9, [u32("meter_id", 0xffffffff), pad(4)], [list("meters", [
    u32("meter_id"), length16, pad(6), u32("flow_count"), u64("packet_in_count"), u64("byte_in_count"), ...duration,
    list("band_stats", [u64("packet_band_count"), u64("byte_band_count")] as const),
  ] as const, 4)], "meters"),
  meter_config: mp(10, [u32("meter_id", 0xffffffff), pad(4)], [list("meters", [length16, u16("flags"), u32("meter_id"), bands] as const, 0)], "meters"),
  meter_features: mp(11, [], [u32("max_meter"), u32("band_types"), u32("capabilities"), u8("max_bands"), u8("max_color"), pad(2)]),
  table_features: mp(12, [tableFeaturesRequest], [tableFeatures], "tables"),
  port_desc: mp(13, [rest("body")], [list("ports", port)], "ports"),
  flow_monitor: mpx(ONF_VENDOR, 1870, [flowMonitor], [flowUpdates], "updates"),
  /** The same before OpenFlow 1.3. */
  nxst_flow_monitor: mpx(NX_VENDOR, 2, [nxFlowMonitor], [nxFlowUpdates], "updates"),
  ipfix_bridge: mpx(NX_VENDOR, 3, [], ipfix),
  ipfix_flow: mpx(NX_VENDOR, 4, [], [list("exporters", ipfix)], "exporters"),
  /** Of an experimenter that this package does not know. */
  experimenter: mp(0xffff, experimenterBody, experimenterBody, "data"),
} as const satisfies Record<string, MultipartDef<readonly Part[], readonly Part[]>>;
