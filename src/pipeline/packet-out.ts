// A packet of the controller's own into a stage: the actions that load its registers and hand it to the stage's first table.
import { ethType, type PacketOut, type StageOut } from "#app";
import { encodeMessage, ports, type Action } from "node-openflow";
import type { Family, Layout } from "./layout.ts";
import { addressValue, loadOf } from "./lowering.ts";

/** A packet and what a switch is to do with it. */
export interface LoweredOut {
  readonly chassis: string;
  readonly inPort: number | undefined;
  readonly actions: readonly Action[];
  readonly data: Uint8Array;
}

/**
 * A packet of an app as the southbound layer sends it. Into a stage it comes by the bridge's own port unless told otherwise: Open vSwitch loses one that came
 * by none when flows set its `in_port` and then track it, since it finds the bridge again by a port.
 * @throws Error as `packetOutActions`, OpenFlowError when it has no wire form
 */
export function lowerPacket(layout: Layout, app: string, out: PacketOut | StageOut): PacketOut | LoweredOut {
  const lowered = "stage" in out ? { chassis: out.chassis, inPort: out.inPort ?? ports.LOCAL, actions: packetOutActions(layout, app, out), data: out.data } : out;
  const actions: readonly Action[] = "actions" in lowered ? lowered.actions : [{ type: "output", port: lowered.outPort }];
  // Here it costs the app, later it would cost the switch its session.
  encodeMessage({ type: "packet_out", in_port: ("actions" in lowered ? lowered.inPort : undefined) ?? ports.CONTROLLER, actions, data: lowered.data }, 0);
  return lowered;
}

const TAGS: ReadonlySet<number> = new Set([0x8100, 0x88a8]);

/**
 * Actions of a packet-out. Registers are shared ones or those of `app`. Where the stage begins with conntrack, IP packets pass it in the
 * zone that `ct_zone` holds; others enter the stage after it.
 * @throws Error naming stage and register when a register is another app's, a value does not fit, or a zone is missing
 */
export function packetOutActions(layout: Layout, app: string, { stage, registers, data }: Pick<StageOut, "stage" | "registers" | "data">): Action[] {
  const actions: Action[] = [];
  for (const [name, value] of Object.entries(registers)) {
    const register = layout.register(name);
    if (register.app !== "core" && register.app !== app) throw new Error(`app ${app} sends a packet into ${stage} with register ${name} of ${register.app}`);
    if (typeof value === "string" && !register.ip) throw new Error(`app ${app} sends a packet into ${stage} with text in register ${name}, which holds no address`);
    const number = typeof value === "string" ? addressValue(value) : BigInt(value);
    if (number < 0n || number >> BigInt(register.bits) !== 0n) throw new Error(`app ${app} sends a packet into ${stage} with ${value} in register ${name} of ${register.bits} bits`);
    actions.push(loadOf(register, number));
  }
  const family = familyOfFrame(data);
  if (family !== "other" && layout.entry(stage)?.conntrack === true && registers.ct_zone === undefined) {
    throw new Error(`app ${app} sends a packet into ${stage}, which begins with conntrack, without ct_zone`);
  }
  return [...actions, ...layout.enter(stage, family)];
}

/** By the EtherType behind any VLAN tags. */
function familyOfFrame(frame: Uint8Array): Family {
  let at = 12;
  const type = (): number => ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
  while (TAGS.has(type())) at += 4;
  return type() === ethType.ip ? "ip" : type() === ethType.ipv6 ? "ipv6" : "other";
}
