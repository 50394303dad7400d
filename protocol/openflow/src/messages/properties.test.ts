// Lists of properties, all of them, with a property that nobody knows: a strict decoder says what Open vSwitch says. Requests are sent to
// a real switch; what only a switch sends is read by ovs-ofctl, as a controller would.

import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { OpenFlowConnection } from "../channel/connection.ts";
import { errorName, OpenFlowError } from "../wire/errors.ts";
import { decodeMessage, encodeMessage, type Message, type MessageOf } from "./codec.ts";
import { ovsInstalled, startSwitch, type TestSwitch } from "../testing/test-switch.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const concat = (...parts: readonly (Buffer | string)[]): Buffer => Buffer.concat(parts.map((part) => (typeof part === "string" ? hex(part) : part)));
function u(bytes: number, value: number): Buffer {
  const out = Buffer.alloc(bytes);
  out.writeUIntBE(value, 0, bytes);
  return out;
}
const padded = (bytes: Buffer): Buffer => concat(bytes, Buffer.alloc(-bytes.length & 7));
/** A property with its padding. */
const property = (type: number, content: Buffer | string = ""): Buffer => {
  const data = concat(content);
  return padded(concat(u(2, type), u(2, 4 + data.length), data));
};
const message = (type: number, ...body: readonly (Buffer | string)[]): Buffer => {
  const content = concat(...body);
  return concat(u(1, 4), u(1, type), u(2, 8 + content.length), u(4, 1), content);
};
const NX = u(4, 0x2320);
const ONF = u(4, 0x4f4e4600);

const requiredFeatures = (except: number): Buffer => concat(...[0, 2, 4, 6, 8, 10, 12, 14].filter((type) => type !== except).map((type) => property(type)));
const features = (except: number) => (list: Buffer): Buffer => {
  const all = concat(list, requiredFeatures(except));
  return concat("000c 0000 00000000", u(2, 64 + all.length), "00 0000000000", Buffer.alloc(32, "t"), Buffer.alloc(16), u(4, 0), u(4, 5), all);
};
const paused = concat(property(0, Buffer.alloc(60)));
const continuation = (list: Buffer): Buffer => concat(paused, property(8, concat("00000000", property(0x8000, Buffer.alloc(16)), list)));
const tuple = (type: number, list: Buffer): Buffer => message(4, NX, u(4, 32), "06 00000000000000", u(2, type), u(2, 8 + list.length), "00000000", list);

/** Who refuses: a switch what it is asked, a controller (here ovs-ofctl) what a switch tells it. */
const lists: Readonly<Record<string, { by: "switch" | "ofctl"; of: (list: Buffer) => Buffer }>> = {
  "ct_flush": { by: "switch", of: (list) => message(4, NX, u(4, 32), "06 00000000000000", list) },
  "ct_flush, original tuple": { by: "switch", of: (list) => tuple(0, list) },
  "ct_flush, reply tuple": { by: "switch", of: (list) => tuple(1, list) },
  "nxt_set_async2": { by: "switch", of: (list) => message(4, NX, u(4, 27), list) },
  "bundle_control": { by: "switch", of: (list) => message(4, ONF, u(4, 2300), u(4, 9), u(2, 0), u(2, 3), list) },
  "bundle_add": { by: "switch", of: (list) => message(4, ONF, u(4, 2301), u(4, 7), u(2, 0), u(2, 3), encodeMessage({ type: "flow_mod", command: "add", match: {} }, 1), list) },
  "nxt_resume": { by: "switch", of: (list) => message(4, NX, u(4, 28), continuation(Buffer.alloc(0)), list) },
  "nxt_resume, continuation": { by: "switch", of: (list) => message(4, NX, u(4, 28), continuation(list)) },
  "table_features, to a switch": { by: "switch", of: (list) => message(18, features(-1)(list)) },
  "table_features without instructions, to a switch": { by: "switch", of: (list) => message(18, features(0)(list)) },
  "controller action": { by: "switch", of: (list) => message(13, u(4, 0xffffffff), u(4, 0xfffffffd), u(2, 16 + list.length), Buffer.alloc(6), u(2, 0xffff), u(2, 16 + list.length), NX, u(2, 37), Buffer.alloc(6), list) },
  "nxt_packet_in2": { by: "ofctl", of: (list) => message(4, NX, u(4, 30), paused, list) },
  "nxt_packet_in2, continuation": { by: "ofctl", of: (list) => message(4, NX, u(4, 30), continuation(list)) },
  "table_features, of a switch": { by: "ofctl", of: (list) => message(19, features(-1)(list)) },
  "table_features without instructions, of a switch": { by: "ofctl", of: (list) => message(19, features(0)(list)) },
  "role_status": { by: "ofctl", of: (list) => message(4, ONF, u(4, 1911), u(4, 2), u(4, 0), Buffer.alloc(8), list) },
  "requestforward": { by: "ofctl", of: (list) => message(4, ONF, u(4, 2350), "040f001000000001 0000 00 00 00000001", list) },
  "queue_get_config_reply": { by: "ofctl", of: (list) => message(23, u(4, 1), u(4, 0), u(4, 1), u(4, 1), u(2, 16 + list.length), Buffer.alloc(6), list) },
};

const experimenter = (who: Buffer, type: number, content = ""): string => concat(who, u(4, type), content).toString("hex");
const properties: Readonly<Record<string, Buffer>> = {
  "a type that nobody knows": property(0x60, "00000000"),
  "without content": property(0x60),
  "with padding": property(0x60, "0102"),
  "number 0x8001": property(0x8001, "00000000"),
  "number 0xfffe without experimenter": property(0xfffe, "00000000"),
  "number 0xfffe of an experimenter": property(0xfffe, experimenter(u(4, 0x1234), 100)),
  "number 0xfffe of experimenter 0": property(0xfffe, experimenter(u(4, 0), 100)),
  "an experimenter's without experimenter": property(0xffff),
  "an experimenter's without type": property(0xffff, "00001234"),
  "of an unknown experimenter": property(0xffff, experimenter(u(4, 0x1234), 100)),
  "of an unknown experimenter, with content": property(0xffff, experimenter(u(4, 0x1234), 100, "00000000")),
  "of Nicira": property(0xffff, experimenter(NX, 100)),
  "of the ONF": property(0xffff, experimenter(ONF, 100)),
  "of experimenter 0": property(0xffff, experimenter(u(4, 0), 100)),
  "of experimenter 0, type 0": property(0xffff, experimenter(u(4, 0), 0)),
  "of an experimenter, with a number of the list": property(0xffff, experimenter(NX, 1)),
  "of an experimenter, with a number of the list and content": property(0xffff, experimenter(NX, 1, "00000000")),
  "of an experimenter, with number 0": property(0xffff, experimenter(NX, 0)),
  "of an experimenter, with number 2 and a table 255": property(0xffff, experimenter(NX, 2, "ff")),
  "of an experimenter, with number 0xffff": property(0xffff, experimenter(NX, 0xffff)),
  "of an experimenter, with number 0x8000": property(0xffff, experimenter(NX, 0x8000)),
  "of an experimenter, with a number above 16 bits": property(0xffff, experimenter(NX, 0x10000)),
  "of an experimenter, twice": concat(property(0xffff, experimenter(NX, 1)), property(0xffff, experimenter(NX, 1))),
  "of a length below its head": hex("0060000300000000"),
  "of a length beyond the list": hex("0060001000000000"),
};

/** The verdict of a strict decoder: the error's name, "ok". */
function judge(bytes: Buffer, shown: boolean): string {
  try {
    decodeMessage(bytes, { strict: true, shown });
    return "ok";
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    expect(error.offset).toBeLessThanOrEqual(bytes.length);
    return error.errorName ?? error.message;
  }
}

/** What the switch says when its decoder took the message: that it does not do that. Not a matter of decoding. */
const BEYOND: Readonly<Record<string, ReadonlySet<string>>> = {
  "table_features": new Set(["OFPTFFC_EPERM"]), "nxt_resume": new Set(["NXR_STALE", "NXR_NOT_SUPPORTED"]), "bundle_control": new Set(["OFPBFC_BAD_ID"]),
};

describe.skipIf(!ovsInstalled)("properties that nobody knows", () => {
  let ovs: TestSwitch;
  let connection: OpenFlowConnection;
  beforeAll(async () => {
    ovs = startSwitch();
    connection = await ovs.connect();
  });
  afterAll(() => {
    connection.close();
    ovs.stop();
  });

  async function askSwitch(name: string, bytes: Buffer): Promise<string> {
    const request = Buffer.from(bytes);
    const errors: string[] = [];
    const listen = ({ error_type: type, code, experimenter }: MessageOf<"error">): void => void errors.push(experimenter === undefined ? errorName(type, code) : errorName(code, 0, experimenter));
    connection.on("error_message", listen);
    try {
      connection.sendRaw(request);
      await connection.barrier();
    } finally {
      connection.off("error_message", listen);
    }
    const beyond = Object.entries(BEYOND).find(([beginning]) => name.startsWith(beginning))?.[1];
    // A bundle that an earlier question opened ends by itself.
    const error = errors.find((each) => beyond?.has(each) !== true && each !== "OFPBFC_TIMEOUT") ?? "ok";
    // OpenFlow 1.3 has no number for this one.
    return name.startsWith("table_features") && error === "NXBRC_UNENCODABLE_ERROR" ? "OFPTFFC_BAD_FEATURES" : error;
  }

  function askOfctl(bytes: Buffer): string {
    const text = execFileSync("ovs-ofctl", ["ofp-print", bytes.toString("hex")], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return /\*\*\*decode error: (\w+)\*\*\*/.exec(text)?.[1] ?? "ok";
  }

  for (const [name, { by, of }] of Object.entries(lists)) {
    test(`in ${name}: as Open vSwitch`, async () => {
      const ours: Record<string, string> = {};
      const theirs: Record<string, string> = {};
      for (const [what, bytes] of Object.entries(properties)) {
        ours[what] = judge(of(bytes), false);
        ours[`${what}, shown`] = judge(of(bytes), true);
        const shown = askOfctl(of(bytes));
        theirs[`${what}, shown`] = shown;
        theirs[what] = by === "switch" ? await askSwitch(name, of(bytes)) : shown;
      }
      expect(ours).toEqual(theirs);
    });
  }

  // Class, type and length, where others have type and length.
  test.each([
    ["NSH metadata type", "0004 01 05 01 000000"], ["of a class that nobody knows", "0060 01 08 00000000"], ["of a type that nobody knows", "0004 60 08 00000000"],
    ["of the experimenters' class", "ffff 01 0c 00001234 00000001 00000000"], ["too short", "0004 01 02 00000000"], ["too long", "0004 01 40 01 000000"],
  ])("of an encap action, %s: as Open vSwitch", async (_what, text) => {
    const list = hex(text);
    const action = concat(u(2, 0xffff), u(2, 16 + list.length), NX, u(2, 46), u(2, 0), u(4, 0x1894f), list);
    const bytes = message(13, u(4, 0xffffffff), u(4, 0xfffffffd), u(2, action.length), Buffer.alloc(6), action, Buffer.alloc(60));
    expect(judge(bytes, false)).toBe(await askSwitch("packet_out", bytes));
  });
});

test("without judging, properties that nobody knows are kept, and written as they came", () => {
  for (const [name, { of }] of Object.entries(lists)) {
    if (name === "controller action") continue; // one of Open vSwitch's own, decoded into what it does
    for (const what of ["a type that nobody knows", "of an unknown experimenter, with content"]) {
      if (name === "queue_get_config_reply" && what.includes("experimenter")) continue; // its lengths are whole eights
      const bytes = of(properties[what]!);
      expect(encodeMessage(decodeMessage(bytes) as Message, 1).toString("hex"), `${name}: ${what}`).toBe(bytes.toString("hex"));
    }
  }
});
