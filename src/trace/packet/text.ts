// A packet as ofproto/trace takes it: "in_port=1,tcp,nw_src=10.0.0.1,tp_dst=80".
import { parseMatch } from "node-openflow";
import { Packet } from "./packet.ts";

/** @throws OpenFlowError or Error naming what is wrong; a field is given whole */
export const packetOfText = (text: string): Packet => Packet.of(parseMatch(text));
