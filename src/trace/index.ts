// The face of the packet interpreter: what Open vSwitch would do with a packet, over flows of one switch that are known. Pure: no switch is asked.
export { trace } from "./interpreter.ts";
export { limits, type TraceOptions } from "./passes.ts";
export { everyTrace } from "./choices.ts";
export { TraceSwitch, type FlowBytes, type GroupItem, type SwitchOptions, type TraceBucket, type TraceGroup, type TracePort, type TunnelOptions } from "./switch.ts";
export { flowOfBytes, TraceFlow, type FlowInput, type Op } from "./flow.ts";
export { Packet } from "./packet/packet.ts";
export { packetOfText } from "./packet/text.ts";
export { packetOfFrame, type FrameOptions } from "./packet/frame.ts";
export { answeredTuple, ctNext, ctState, ownTuple, translate, withTuples, type Conntrack, type CtAnswer, type Datapath } from "./conntrack.ts";
export { hopsOf, puntReasons } from "./result.ts";
export type { Choice, CtAssumption, CtUse, Did, Drop, Hop, InActionSet, InBucket, Output, Pass, Punt, PuntReason, Step, Trace, TraceError, TraceErrorName } from "./result.ts";
export { applyLearned } from "./learn-table.ts";
export type { LearnedFlow } from "./learn.ts";
