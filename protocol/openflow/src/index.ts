// The public face of node-openflow; nothing else is exported.

export { fields, fieldList, ports, groups, NO_BUFFER, ALL_TABLES, type Field, type FieldKind, type FieldName } from "./fields.ts";
export { encodeMatch, encodeNxm, encodeOxm, encodeOxms, decodeMatch, decodeNxm, decodeOxms, flagNames, type Match, type MatchValue } from "./match.ts";
export type { DecodeOptions } from "./strict.ts";
export type { FieldValue } from "./value.ts";
export { wholeField, type SubField } from "./action-parts.ts";
export { encodeActions, encodeLoad, encodeSetField, decodeActions, type Action, type Nat } from "./actions.ts";
export type { EncapProperty } from "./actions-encap.ts";
export type { LearnSpec } from "./learn.ts";
export { encodeInstructionHead, encodeInstructions, decodeInstructions, type Instruction } from "./instructions.ts";
export {
  encodeFlowMod, encodeFlowModHead, finishFlowMod, eachFlowStats, flowModCommands, flowModFlags, FLOW_MOD_MATCH_OFFSET, MAX_MESSAGE, OFP_VERSION,
  type FlowMod, type FlowModCommand, type FlowStatsView,
} from "./flow-mod.ts";
export { flowModTemplate, FlowModTemplate } from "./template.ts";
export {
  encodeMessage, decodeMessage, REPLY_MORE,
  type Decoded, type ExperimenterMessage, type FlowModMessage, type Message, type MessageOf, type MessageType, type MultipartKind,
  type MultipartReply, type MultipartReplyOf, type MultipartRequest, type PortDesc,
} from "./messages.ts";
export type { PacketIn2 } from "./message-parts.ts";
export type { CtFlushProperty, CtFlushTuple } from "./ct-flush.ts";
export { flowMonitorFlags, type FlowMonitor, type FlowUpdate, type NxFlowUpdate } from "./flow-monitor.ts";
export type { OxmId, TableFeatureProperty } from "./table-features.ts";
export type { U64 } from "./layout.ts";
export { OpenFlowError, errorName, formatRefusal, type ErrorName, type OpenFlowErrorCode, type OpenFlowErrorDetails } from "./errors.ts";
export { Framer } from "./frame.ts";
export {
  OpenFlowConnection, peerError,
  type BundleOptions, type ConnectionOptions, type Features, type PacketInMessage, type ReplyTo, type Slice,
} from "./connection.ts";
export { connectToTarget, dump, type DumpOptions } from "./dump.ts";
export { listen, type Listener, type ListenOptions } from "./listen.ts";
export { formatActions } from "./text/print-actions.ts";
export { printBytes, type PrintBytesOptions, type PrintedAs } from "./text/print-bytes.ts";
export { formatFlow, formatFlowMod, formatFlowStats, formatInstructions, type PrintableFlow, type PrintableFlowStats } from "./text/print-flow.ts";
export { formatMatch } from "./text/print-match.ts";
export { formatBytes, formatMessage, type PrintOptions } from "./text/print-message.ts";
export { formatPacket } from "./text/print-packet.ts";
export { formatPort, formatSubField } from "./text/print-value.ts";
export { parseFlow, parseFlows, type FlowTextOptions } from "./text/parse-flow.ts";
export { parseActions, parseInstructions } from "./text/parse-actions.ts";
export { parseMatch } from "./text/parse-match.ts";
export { parseGroup, parseMeter, type GroupCommand, type MeterCommand } from "./text/parse-group.ts";
