// The public face of node-openflow; nothing else is exported.

export { fields, fieldList, ports, groups, NO_BUFFER, ALL_TABLES, type Field, type FieldKind, type FieldName } from "./match/fields.ts";
export { encodeMatch, encodeNxm, encodeOxm, encodeOxms, decodeMatch, decodeNxm, decodeOxms, flagNames, type Match, type MatchValue } from "./match/match.ts";
export type { DecodeOptions } from "./wire/strict.ts";
export { writeIpv4, writeIpv6, writeMac, writeU32, type FieldValue } from "./match/value.ts";
export { wholeField, type SubField } from "./actions/parts.ts";
export { encodeActions, encodeLoad, encodeSetField, decodeActions, type Action, type Nat } from "./actions/codec.ts";
export type { EncapProperty } from "./actions/encap.ts";
export type { LearnSpec } from "./actions/learn.ts";
export { encodeInstructionHead, encodeInstructions, decodeInstructions, type Instruction } from "./messages/instructions.ts";
export {
  encodeFlowMod, encodeFlowModHead, finishFlowMod, eachFlowStats, flowModCommands, flowModFlags, FLOW_MOD_MATCH_OFFSET, MAX_MESSAGE, OFP_VERSION,
  type FlowMod, type FlowModCommand, type FlowStatsView,
} from "./messages/flow-mod.ts";
export { FLOW_KEY_OFFSET, flowKey } from "./messages/flow-key.ts";
export { canonicalMatch } from "./match/canonical.ts";
export { flowModTemplate, FlowModTemplate } from "./messages/template.ts";
export {
  encodeMessage, decodeMessage, REPLY_MORE,
  type Decoded, type ExperimenterMessage, type FlowModMessage, type Message, type MessageOf, type MessageType, type MultipartKind,
  type MultipartReply, type MultipartReplyOf, type MultipartRequest, type PortDesc,
} from "./messages/codec.ts";
export type { PacketIn2 } from "./messages/parts.ts";
export type { CtFlushProperty, CtFlushTuple } from "./messages/ct-flush.ts";
export { flowMonitorFlags, type FlowMonitor, type FlowUpdate, type NxFlowUpdate } from "./messages/flow-monitor.ts";
export type { OxmId, TableFeatureProperty } from "./messages/table-features.ts";
export type { U64 } from "./layout/layout.ts";
export { OpenFlowError, errorName, formatRefusal, type ErrorName, type OpenFlowErrorCode, type OpenFlowErrorDetails } from "./wire/errors.ts";
export { Framer } from "./channel/frame.ts";
export {
  OpenFlowConnection,
  type BundleOptions, type ConnectionOptions, type Features, type PacketInMessage, type ReplyLimits, type ReplyTo, type Slice,
} from "./channel/connection.ts";
export { peerError } from "./channel/peer-error.ts";
export { connectToTarget, dump, type DumpOptions } from "./command/dump.ts";
export { listen, type Listener, type ListenOptions } from "./channel/listen.ts";
export { formatActions } from "./text/print/actions.ts";
export { printBytes, type PrintBytesOptions, type PrintedAs } from "./text/print/bytes.ts";
export { formatFlow, formatFlowMod, formatFlowStats, formatInstructions, type PrintableFlow, type PrintableFlowStats } from "./text/print/flow.ts";
export { formatMatch } from "./text/print/match.ts";
export { formatBytes, formatMessage, type PrintOptions } from "./text/print/message.ts";
export { formatPacket } from "./text/print/packet.ts";
export { formatPort, formatSubField } from "./text/print/value.ts";
export { parseFlow, parseFlows, type FlowTextOptions } from "./text/parse/flow.ts";
export { parseActions, parseInstructions } from "./text/parse/actions.ts";
export { parseMatch } from "./text/parse/match.ts";
export { parseGroup, parseMeter, type GroupCommand, type MeterCommand } from "./text/parse/group.ts";
