// Actions that send packets on or look at them: output, controller, resubmit, bundle, multipath, sample, conjunction, note.

import type { Action } from "../../actions/codec.ts";
import { ports } from "../../match/fields.ts";
import { hasShortNumber, subField, wireSubField, type TextSubField } from "./fields.ts";
import { inconsistent, outputPort, plain, readable, writable, type Reader, type Reading } from "./step.ts";
import { decimal, hexBytes, number, pairs, part, pieces, port, portNumber, quoted, scanInteger, table, textError, u16, u32, type Word } from "./words.ts";

const ALL_BYTES = 0xffff;
const SHORTEST_PACKET = 14;

/** Output to a port; that to the controller sends all of the packet. */
export function outputTo(word: Word, to: number, maxLen: number): Reading {
  return plain({ type: "output", port: to, max_len: maxLen }, () => outputPort(word, to));
}

const output: Reader = (value, word) => {
  if (value.text.includes("port") && value.text.includes("max_len")) return outputTruncated(value, word);
  const to = portNumber(value.text);
  if (to !== undefined) return outputTo(word, to, to === ports.CONTROLLER ? ALL_BYTES : 0);
  if (value.text === "") throw textError(value, `${word.text}: a port is missing`);
  const src = subField(value);
  const type = hasShortNumber(src.field) ? "output_reg" as const : "output_reg2" as const;
  return plain({ type, src: wireSubField(value, src), max_len: ALL_BYTES }, (judge) => readable(judge, word, src));
};

/** output(port=1,max_len=100): at most so many bytes of the packet. */
function outputTruncated(value: Word, word: Word): Reading {
  let to = 0;
  let maxLen = 0;
  for (const pair of pairs(value)) {
    if (pair.key.text === "port") {
      to = port(pair.value, word.text);
      if (to > 0xff00 && to !== ports.LOCAL && to !== ports.IN_PORT) throw textError(pair.value, `${word.text}: no truncated output to ${quoted(pair.value)}`);
    } else if (pair.key.text === "max_len") {
      maxLen = u32(pair.value, "max_len");
      if (maxLen < SHORTEST_PACKET) throw textError(pair.value, `max_len is at least ${SHORTEST_PACKET}, not ${maxLen}`);
    } else throw textError(pair.key, `${word.text}: no argument ${quoted(pair.key)}`);
  }
  return plain({ type: "output_trunc", port: to & 0xffff, max_len: maxLen }, () => outputPort(word, to));
}

const enqueue: Reader = (value, word) => {
  const [first] = pieces(value, /[:q,]/);
  const start = first === undefined ? 0 : first.at - value.at + first.text.length + 1;
  if (first === undefined || start >= value.text.length) throw textError(value, `${word.text} takes PORT:QUEUE, not ${quoted(value)}`);
  const to = port(first, word.text);
  const queue = u32(part(value, start), word.text);
  return {
    compile(judge) {
      if (judge !== undefined && to >= 0xff00 && to !== ports.IN_PORT && to !== ports.LOCAL) throw textError(word, `${word.text}: there is no queue of ${quoted(first)}`, "OFPBAC_BAD_OUT_PORT");
      // OpenFlow 1.3 has no such action: set the queue, output, put the queue back.
      return [{ type: "set_queue", queue_id: queue }, { type: "output", port: to, max_len: ALL_BYTES }, { type: "pop_queue" }];
    },
  };
};

const REASONS = ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];
const ACTION = 1;
const NO_METER = 0;

const controller: Reader = (value, word) => {
  if (/^[0-9]*$/.test(value.text)) return outputTo(word, ports.CONTROLLER, value.text === "" ? ALL_BYTES : u16(value, "max_len"));
  let reason = ACTION;
  let id = 0;
  let maxLen = ALL_BYTES;
  let meter = NO_METER;
  let userdata: Uint8Array | undefined;
  let pause = false;
  for (const pair of pairs(value)) {
    switch (pair.key.text) {
      case "reason":
        reason = REASONS.indexOf(pair.value.text.toLowerCase());
        if (reason < 0) throw textError(pair.value, `reason: ${quoted(pair.value)} is none of ${REASONS.join(", ")}`);
        break;
      case "max_len":
        maxLen = u16(pair.value, "max_len");
        break;
      case "id":
        id = u16(pair.value, "id");
        break;
      case "userdata":
        userdata = hexBytes(pair.value, "userdata");
        break;
      case "pause":
        pause = true;
        break;
      case "meter_id":
        meter = u32(pair.value, "meter_id");
        break;
      default:
        throw textError(pair.key, `${word.text}: no argument ${quoted(pair.key)}`);
    }
  }
  if (reason === ACTION && id === 0 && userdata === undefined && !pause && meter === NO_METER) return outputTo(word, ports.CONTROLLER, maxLen);
  const bytes = userdata?.length === 0 ? undefined : userdata;
  // Without the newer abilities it has an older form, in which everything is said.
  if (bytes === undefined && !pause && meter === NO_METER) return plain({ type: "controller", max_len: maxLen, controller_id: id, reason });
  return plain({
    type: "controller", ...(maxLen === ALL_BYTES ? {} : { max_len: maxLen }), ...(id === 0 ? {} : { controller_id: id }), ...(reason === ACTION ? {} : { reason }),
    ...(bytes === undefined ? {} : { userdata: bytes }), ...(pause ? { pause } : {}), ...(meter === NO_METER ? {} : { meter_id: meter }),
  });
};

const resubmit: Reader = (value, word) => {
  const [portText = "", tableText = "", last = ""] = value.text.split(",");
  const tableAt = value.at + portText.length + 1;
  const inPort = portText === "" ? ports.IN_PORT : port({ text: portText, at: value.at }, word.text);
  const tableId = tableText === "" ? 255 : table({ text: tableText, at: tableAt }, word.text);
  if (last !== "" && last !== "ct") throw textError({ at: tableAt + tableText.length + 1 }, `${word.text}: no argument "${last.slice(0, 60)}"`);
  if (inPort === ports.IN_PORT && tableId === 255) throw textError(word, `${word.text} takes a port, a table or both`);
  const action: Action = { type: "resubmit", table: tableId, ...(inPort === ports.IN_PORT ? {} : { in_port: inPort & 0xffff }), ...(last === "ct" ? { ct: true } : {}) };
  return plain(action, (judge) => {
    if (last === "ct" && !judge.packet.meets("ct")) throw inconsistent(word, "the match does not say that there is a connection");
  });
};

// --- choosing among ports ---

const HASH_FIELDS = ["eth_src", "symmetric_l4", "symmetric_l3l4", "symmetric_l3l4+udp", "nw_src", "nw_dst", "symmetric_l3"];

function choice(word: Word | undefined, names: readonly string[], what: string): number {
  const index = word === undefined ? -1 : names.indexOf(word.text.toLowerCase());
  if (word === undefined || index < 0) throw textError(word ?? { at: 0 }, `${what}: ${word === undefined ? "nothing" : quoted(word)} is none of ${names.join(", ")}`);
  return index;
}

function shortTarget(word: Word): TextSubField {
  const dst = subField(word);
  if (!hasShortNumber(dst.field)) throw textError(word, `${dst.field.name} cannot stand here, its number is too long`);
  return dst;
}

const multipath: Reader = (value, word) => {
  const [hashed, basis, algorithm, links, arg, target] = pieces(value, /[, ]/);
  if (target === undefined) throw textError(value, `${word.text} takes fields, basis, algorithm, number of links, argument and a field, not ${quoted(value)}`);
  const count = number(links!, "number of links", 0x10000);
  if (count < 1) throw textError(links!, "there is at least one link");
  const dst = shortTarget(target);
  if (dst.bits < 16 && count > 1 << dst.bits) throw textError(target, `${count} links do not fit ${dst.bits} bits`);
  const action: Action = {
    type: "multipath", fields: choice(hashed, HASH_FIELDS, word.text), basis: decimal(basis!, "basis", 0xffff),
    algorithm: choice(algorithm, ["modulo_n", "hash_threshold", "hrw", "iter_hash"], word.text),
    max_link: count - 1, arg: decimal(arg!, "argument", 0xffffffff), dst: wireSubField(target, dst),
  };
  return plain(action, (judge) => writable(judge, word, dst));
};

const MOST_MEMBERS = 2048;

/** bundle(fields,basis,algorithm,ofport,members:1,2) and bundle_load with a field before the members. */
function bundle(type: "bundle" | "bundle_load"): Reader {
  return (value, word) => {
    const mark = /(?:^|[, ])(members|slaves)(?:[: ]|$)/i.exec(value.text);
    const head = pieces(part(value, 0, mark === null ? undefined : mark.index), /[, ]/);
    const expected = type === "bundle" ? 4 : 5;
    if (mark === null || head.length < expected) throw textError(value, `${word.text}: not enough arguments in ${quoted(value)}`);
    if (head.length > expected) throw textError(head[expected]!, `${word.text}: "members" is expected, not ${quoted(head[expected]!)}`);
    const [hashed, basis, algorithm, kind, target] = head;
    choice(kind, ["ofport"], word.text);
    const list = pieces(part(value, mark.index + mark[0].length), /[, [\]]/);
    if (list.length > MOST_MEMBERS) throw textError(list[MOST_MEMBERS]!, `${word.text}: more than ${MOST_MEMBERS} members`);
    const members = list.map((member) => port(member, word.text));
    const dst = target === undefined ? undefined : shortTarget(target);
    const action: Action = {
      type, algorithm: choice(algorithm, ["active_backup", "hrw"], word.text), fields: choice(hashed, HASH_FIELDS, word.text),
      basis: decimal(basis!, "basis", 0xffff), member_type: 2, members: members.map((member) => member & 0xffff),
      ...(dst === undefined ? {} : { dst: wireSubField(target!, dst) }),
    };
    return plain(action, (judge) => {
      if (dst !== undefined) writable(judge, word, dst);
      for (const member of members) {
        if (member !== ports.ANY) outputPort(word, member);
        if (member === ports.CONTROLLER) throw textError(word, `${word.text}: the controller is no member`, "OFPBAC_BAD_OUT_PORT");
      }
    });
  };
}

// --- the rest ---

const DIRECTIONS = { ingress: 1, egress: 2 } as const;

const sample: Reader = (value, word) => {
  const numbers = { probability: 0, collector_set_id: 0, obs_domain_id: 0, obs_point_id: 0 };
  let samplingPort: number = ports.ANY;
  let direction = 0;
  for (const { key, value: given } of pairs(value)) {
    switch (key.text) {
      case "probability":
        numbers.probability = u16(given, "probability");
        if (numbers.probability === 0) throw textError(given, "probability is not 0");
        break;
      case "collector_set_id":
      case "obs_domain_id":
      case "obs_point_id":
        numbers[key.text] = u32(given, key.text);
        break;
      case "sampling_port":
        samplingPort = port(given, "sampling_port");
        break;
      case "ingress":
      case "egress":
        direction = DIRECTIONS[key.text];
        break;
      default:
        throw textError(key, `${word.text}: no argument ${quoted(key)}`);
    }
  }
  if (numbers.probability === 0) throw textError(word, `${word.text} takes a probability`);
  if (direction === 0 && samplingPort === ports.ANY) return plain({ type: "sample", ...numbers });
  return plain({ type: direction === 0 ? "sample2" : "sample3", ...numbers, sampling_port: samplingPort & 0xffff, direction });
};

const conjunction: Reader = (value, word) => {
  const found = /^\s*([^,\s]+)\s*,\s*([0-9]{1,10})\s*\/\s*([0-9]{1,10})\s*$/.exec(value.text);
  const id = found === null ? undefined : scanInteger(found[1]!, 0);
  if (found === null || id?.end !== found[1]!.length || id.value < -0x80000000n || id.value > 0xffffffffn) throw textError(value, `${word.text} takes an id, and which clause of how many, 1,2/3, not ${quoted(value)}`);
  const [clause, of] = [Number(found[2]), Number(found[3])];
  if (of < 2 || of > 64) throw textError(value, `${word.text}: there are 2 to 64 clauses, not ${of}`);
  if (clause < 1 || clause > of) throw textError(value, `${word.text}: there is no clause ${clause} of ${of}`);
  return plain({ type: "conjunction", clause: clause - 1, n_clauses: of, id: Number(id.value & 0xffffffffn) });
};

export const FORWARDERS: Readonly<Record<string, Reader>> = {
  output,
  output_reg: output,
  group: (value, word) => plain({ type: "group", group_id: u32(value, word.text) }),
  enqueue,
  controller,
  resubmit,
  bundle: bundle("bundle"),
  bundle_load: bundle("bundle_load"),
  multipath,
  sample,
  conjunction,
  note: (value, word) => plain({ type: "note", data: hexBytes(value, word.text) }),
  exit: () => plain({ type: "exit" }),
  debug_recirc: () => plain({ type: "debug_recirc" }),
  debug_slow: () => plain({ type: "debug_slow" }),
};

