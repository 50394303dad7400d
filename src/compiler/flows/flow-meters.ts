// Which meters a flow names: the one that it passes itself, and those that its copies for the controller pass.
import { decodeInstructions, type Action } from "node-openflow";

/** OFPIT_METER, OpenFlow 1.3.5 section 7.2.4: it comes first, and its meter after type, length. */
const METER = 6;
/** Of NXAST_CONTROLLER2: its vendor and subtype. Nothing but it names a meter inside of actions. */
const CONTROLLER2 = Buffer.from([0, 0, 0x23, 0x20, 0, 37]);

/** Ids of meters that instructions on the wire name, each once. */
export function metersNamed(instructions: Buffer): readonly number[] {
  const own = instructions.length >= 8 && instructions.readUInt16BE(0) === METER ? [instructions.readUInt32BE(4)] : [];
  if (!instructions.includes(CONTROLLER2)) return own;
  const ids = new Set(own);
  const walk = (actions: readonly Action[]): void => {
    for (const action of actions) {
      if (action.type === "controller" && action.meter_id !== undefined) ids.add(action.meter_id);
      else if (action.type === "clone") walk(action.actions);
    }
  };
  for (const instruction of decodeInstructions(instructions, 0, instructions.length)) {
    if (instruction.type === "apply_actions" || instruction.type === "write_actions") walk(instruction.actions);
  }
  return [...ids];
}
