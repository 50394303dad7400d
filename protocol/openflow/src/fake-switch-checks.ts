// Whether the actions of a flow fit its match and each other, as Open vSwitch 3.1 asks for it: outputs go to ports that can be,
// fields are written where the packet has them, tags are taken off where there are any. The packet's headers are followed
// through the actions; a group or a meter that has to exist is the tables' affair.

import type { SubField } from "./action-parts.ts";
import type { Action } from "./actions.ts";
import { refusal, type OpenFlowError } from "./errors.ts";
import { fields, ports, type FieldName } from "./fields.ts";
import type { Instruction } from "./instructions.ts";
import { flowOf, hasPrerequisite, IPV4, IPV6, isIp, isMpls, networkType, TAGGED, type Flow } from "./match-check.ts";
import type { Match } from "./match.ts";

const TCP = 6;
const UDP = 17;
const FTP = 21;
const TFTP = 69;
const METER_MAX = 0xffff0000;

/** Whether a port number of 32 bits has one of 16. */
export function isPort(port: number): boolean {
  return port < 0xff00 || port >= ports.MAX;
}

/** Refuses outputs to ports that cannot be, and conjunctions beside other actions. @throws OpenFlowError a refusal */
export function checkActions(actions: readonly Action[]): void {
  const conjunctions = actions.some((action) => action.type === "conjunction");
  for (const action of actions) {
    if (action.type === "output" && !(action.port < 0xff00 || (action.port >= ports.IN_PORT && action.port <= ports.LOCAL))) throw refusal("OFPBAC_BAD_OUT_PORT", 0, `no output to port ${action.port}`);
    if (conjunctions && action.type !== "conjunction" && action.type !== "note") throw refusal("NXBAC_BAD_CONJUNCTION", 0, `conjunction beside ${action.type}`);
    if (action.type === "clone") checkActions(action.actions);
    else if (action.type === "ct") checkActions(action.exec ?? []);
  }
}

/** The same for all actions of a flow. */
export function checkInstructions(instructions: readonly Instruction[]): void {
  for (const instruction of instructions) if (instruction.type === "apply_actions" || instruction.type === "write_actions") checkActions(instruction.actions);
}

/** Checks the instructions of a flow in this table, of which there are `tables` and one of the switch itself. @throws OpenFlowError a refusal */
export function checkConsistency(match: Match, instructions: readonly Instruction[], tableId: number, tables: number): void {
  const flow = flowOf(match);
  let mismatch: OpenFlowError | undefined;
  for (const instruction of instructions) {
    if (instruction.type === "apply_actions") mismatch ??= walk(instruction.actions, flow);
    // An action set is executed in an order of its own, so only what is wrong in any order counts.
    else if (instruction.type === "write_actions") walk(instruction.actions, { ...flow, vlan: [...flow.vlan] });
    else if (instruction.type === "meter" && (instruction.meter_id === 0 || instruction.meter_id > METER_MAX)) throw refusal("OFPMMFC_INVALID_METER", 0, `no meter can be ${instruction.meter_id}`);
    else if (instruction.type === "goto_table" && (instruction.table_id > tables || (tableId !== 255 && instruction.table_id <= tableId))) {
      throw refusal("OFPBIC_BAD_TABLE_ID", 0, `goto_table ${instruction.table_id} in table ${tableId}`);
    }
  }
  if (mismatch !== undefined) throw mismatch;
}

/**
 * Follows the packet's headers through the actions. What is wrong at once is thrown; what is merely no use for the packet is
 * returned, since Open vSwitch looks at the rest first.
 */
function walk(actions: readonly Action[], flow: Flow): OpenFlowError | undefined {
  let useless: OpenFlowError | undefined;
  const expect = (fits: boolean, action: Action): void => {
    if (!fits) useless ??= misfit(action.type);
  };
  const named = (action: Action, ...subs: (SubField | undefined)[]): void => {
    for (const sub of subs) if (sub !== undefined) needs(sub.field, flow, action.type);
  };
  for (const action of actions) {
    switch (action.type) {
      case "set_field":
      case "reg_load2":
        needs(action.field, flow, action.type);
        if (action.field === "vlan_vid" && (flow.vlan[0] & TAGGED) === 0) throw misfit(action.type);
        break;
      case "load":
        named(action, action.dst);
        break;
      case "move":
        named(action, action.src, action.dst);
        break;
      case "stack_push":
      case "stack_pop":
        named(action, action.field);
        break;
      case "output_reg":
      case "output_reg2":
        named(action, action.src);
        break;
      case "multipath":
      case "bundle_load":
        named(action, action.dst);
        break;
      case "push_vlan":
        if ((flow.vlan[1] & TAGGED) !== 0) throw refusal("OFPBAC_BAD_TAG", 0, "a third VLAN tag");
        flow.vlan = [TAGGED, flow.vlan[0]];
        break;
      case "pop_vlan":
        expect((flow.vlan[0] & TAGGED) !== 0, action);
        flow.vlan = [flow.vlan[1], 0];
        break;
      case "push_mpls":
        flow.ethType = action.ethertype;
        flow.ipProto = 0;
        break;
      case "pop_mpls":
        expect(isMpls(networkType(flow)), action);
        flow.ethType = action.ethertype;
        break;
      case "set_mpls_ttl":
      case "dec_mpls_ttl":
        expect(isMpls(networkType(flow)), action);
        break;
      case "dec_ttl":
      case "dec_ttl_cnt_ids":
      case "set_nw_ttl":
        expect(isIp(flow), action);
        break;
      case "fin_timeout":
        expect(flow.ipProto === TCP, action);
        break;
      case "resubmit":
        if (action.ct === true && !hasPrerequisite("ct", flow)) throw misfit("resubmit with ct");
        break;
      case "clone":
        useless ??= walk(action.actions, { ...flow, vlan: [...flow.vlan] });
        break;
      case "ct": {
        const helper = action.alg ?? 0;
        if (!isIp(flow) || (helper === FTP && flow.ipProto !== TCP) || (helper === TFTP && flow.ipProto !== UDP)) throw misfit("ct");
        if (typeof action.zone === "object") {
          named(action, action.zone);
          break;
        }
        const address = action.nat?.addr_min;
        if (address !== undefined && networkType(flow) !== (address.includes(":") ? IPV6 : IPV4)) throw misfit("nat");
        useless ??= walk(action.exec ?? [], { ...flow, vlan: [...flow.vlan] });
        break;
      }
      default:
        break;
    }
  }
  return useless;
}

function needs(name: FieldName, flow: Flow, what: string): void {
  if (!hasPrerequisite(fields[name].needs, flow)) throw misfit(`${what} of ${name}`);
}

function misfit(what: string): OpenFlowError {
  return refusal("OFPBAC_MATCH_INCONSISTENT", 0, `${what} does not fit the packets of the match`);
}
