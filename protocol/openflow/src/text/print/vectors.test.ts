// The text of messages, actions, instructions and matches against that of ovs-ofctl: recorded from real switches for this package,
// made by other implementations (kept outside this repository, skipped where they are not), and asked of the installed ovs-ofctl.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

import { OpenFlowError } from "../../wire/errors.ts";
import { Framer } from "../../channel/frame.ts";
import { decodeMessage } from "../../messages/codec.ts";
import { printBytes, type PrintedAs } from "./bytes.ts";
import { formatBytes, formatMessage } from "./message.ts";

interface Vector {
  name: string;
  kind: string;
  of: number;
  class: string;
  hex?: string;
  text?: string;
  ovs?: string;
  decoder?: string;
  truncated?: number;
  gzip_base64?: string;
  text_gzip_base64?: string;
}

const shared = new URL("../../../../../../shared/vectors/openflow13/", import.meta.url);
const read = (file: URL): Vector[] => readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line) as Vector);
const withoutXid = (text: string): string => text.replaceAll(/ \(xid=0x[0-9a-f]+\)/g, "");

function ours(kind: string, hex: string, xid = false): string {
  const as = { malformed: "message", action: "actions", instruction: "instructions" }[kind] ?? kind;
  try {
    return printBytes(as as PrintedAs, Buffer.from(hex, "hex"), { xid });
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    return `refused: ${error.message}`;
  }
}

/** Recorded messages whose text differs: what the decoder takes or refuses otherwise than Open vSwitch. */
const OPEN = [
  /metadata=0,in_port=0,dl_vlan=0/, // an ofp_match of OpenFlow 1.1
  /^OFPT_ERROR \(xid/, // an error of OpenFlow 1.0
  /NXT_RESUME.*\(via 128\)/, // a reason of eight bytes
  /NXT_SET_ASYNC_CONFIG2.*OFPACFC_INVALID/, // reasons that there are not
];

test("messages recorded from a real switch, with their transaction ids", () => {
  const messages = read(new URL("../../../vectors/recorded.jsonl", import.meta.url));
  const differing = messages.filter(({ hex, text }) => {
    const printed = ours("message", hex!, true);
    const refused = printed.startsWith("refused") && text!.includes("***decode error");
    return formatBytes(Buffer.from(hex!, "hex"), { xid: true }) !== text || (!refused && printed !== text.replace(/\n$/, ""));
  });
  expect(messages.length).toBeGreaterThan(900);
  expect(differing.filter(({ text }) => !OPEN.some((about) => about.test(text!))).map(({ hex }) => hex)).toEqual([]);
  expect(differing.length).toBeLessThanOrEqual(6);
});

test("a decoded message and its bytes have the same text, with and without the transaction id", () => {
  const bytes = Buffer.from("0400001000000abc0001000800000010", "hex");
  expect(formatMessage(decodeMessage(bytes))).toBe("OFPT_HELLO (OF1.3):\n version bitmap: 0x04");
  expect(formatMessage(decodeMessage(bytes), { xid: true })).toBe("OFPT_HELLO (OF1.3) (xid=0xabc):\n version bitmap: 0x04");
  expect(formatBytes(bytes)).toBe("OFPT_HELLO (OF1.3):\n version bitmap: 0x04\n");
});

test("bytes that are no message are shown, not thrown", () => {
  expect(formatBytes(new Uint8Array(0))).toBe("OpenFlow message is empty\n");
  expect(formatBytes(Buffer.from("abc"))).toBe("OpenFlow packet too short (only 3 bytes):\n00000000  61 62 63                                        |abc             |\n");
  expect(formatBytes(Buffer.from("040e0038000000010000", "hex"))).toBe(
    "OFPT_FLOW_MOD (OF1.3):\n(***truncated to 10 bytes from 56***)\n00000000  04 0e 00 38 00 00 00 01-00 00                   |...8......      |\n",
  );
  expect(() => printBytes("message", Buffer.from("040e0038000000010000", "hex"))).toThrow(OpenFlowError);
});

test("messages inside of messages without end", () => {
  for (const head of ["04010000000000010001000a", "04040000000000014f4e4600000008fd0000000100000003"]) {
    let bytes = Buffer.from("0402000800000001", "hex");
    while (bytes.length < 65_000) {
      bytes = Buffer.concat([Buffer.from(head, "hex"), bytes]);
      bytes.writeUInt16BE(bytes.length, 2);
    }
    const text = formatBytes(bytes);
    expect(text.length).toBeLessThan(8 * bytes.length);
    expect(text).toContain("00000000  04 0");
  }
});

const ofctl = "/usr/bin/ovs-ofctl";

describe.skipIf(!existsSync(ofctl))("the installed ovs-ofctl", () => {
  const theirs = (hex: string): string => withoutXid(execFileSync(ofctl, ["ofp-print", hex], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  const message = (type: number, body: string): string => `04${type.toString(16).padStart(2, "0")}${(8 + body.length / 2).toString(16).padStart(4, "0")}00000001${body}`;
  const packetOut = (packet: string): string => message(13, `ffffffff0000000100100000000000000000001000000002ffff000000000000${packet}`);
  const ethernet = "020000000002020000000001";
  const ipv4 = (proto: string, payload: string, fragment = "0000"): string => `0800451c${(20 + payload.length / 2).toString(16).padStart(4, "0")}0001${fragment}40${proto}00000a0000010a000002${payload}`;
  const ipv6 = (next: string, payload: string): string => `86dd6abcdef1${(payload.length / 2).toString(16).padStart(4, "0")}${next}40fe80${"00".repeat(13)}01ff02${"00".repeat(13)}02${payload}`;
  const tcp = "1f9000500000000100000002501820003344000061";
  const neighbour = `8700abcd00000000fe80${"00".repeat(13)}09010102000000000a`;

  const packets: Record<string, string> = {
    "a frame cut short": "0200000000",
    "ARP": `${ethernet}080600010800060400020200000000010a0000010200000000020a000002`,
    "ARP for other hardware": `${ethernet}080600060800060400020200000000010a0000010200000000020a000002`,
    "RARP": `${ethernet}803500010800060400030200000000010a0000010200000000020a000002`,
    "TCP": `${ethernet}${ipv4("06", tcp)}`,
    "TCP with padding": `${ethernet}${ipv4("06", tcp)}000000000000`,
    "TCP cut short": `${ethernet}${ipv4("06", "1f900050000000010000")}`,
    "UDP": `${ethernet}${ipv4("11", "0035d431000c1234aabbccdd")}`,
    "SCTP": `${ethernet}${ipv4("84", "0b590b5a00000001cafebabe")}`,
    "ICMP": `${ethernet}${ipv4("01", "0800f7fd00010002")}`,
    "IGMP": `${ethernet}${ipv4("02", "16000904e0000116")}`,
    "another protocol": `${ethernet}${ipv4("2f", "00000800")}`,
    "a first fragment": `${ethernet}${ipv4("11", "0035d431000c1234aabbccdd", "2000")}`,
    "a later fragment": `${ethernet}${ipv4("11", "0035d431000c1234aabbccdd", "2010")}`,
    "IPv4 longer than the frame": `${ethernet}08004500004000010000400600000a0000010a000002`,
    "UDP over IPv6": `${ethernet}${ipv6("11", "0035d431000c1234aabbccdd")}`,
    "TCP behind extension headers": `${ethernet}${ipv6("00", `2b000000000000000600000000000000${tcp}`)}`,
    "an IPv6 fragment": `${ethernet}${ipv6("2c", "11000001000000010035d431000c1234aabbccdd")}`,
    "a later IPv6 fragment": `${ethernet}${ipv6("2c", "11000029000000010035d431000c1234aabbccdd")}`,
    "neighbour solicitation": `${ethernet}${ipv6("3a", neighbour)}`,
    "neighbour solicitation with its option twice": `${ethernet}${ipv6("3a", `${neighbour}010102000000000b`)}`,
    "ICMPv6 echo": `${ethernet}${ipv6("3a", "8000abcd00010002")}`,
    "a VLAN tag": `${ethernet}81006064${ipv4("01", "0800f7fd00010002")}`,
    "two VLAN tags": `${ethernet}88a800658100c066${ipv4("01", "0800f7fd00010002")}`,
    "three VLAN tags": `${ethernet}88a8006588a800668100c067${ipv4("01", "0800f7fd00010002")}`,
    "MPLS": `${ethernet}8847000641400000a74045000014`,
    "a short MPLS stack": `${ethernet}884700064040`,
    "NSH": `${ethernet}894f0fc60103001234ff11111111222222223333333344444444`,
    "NSH of metadata type 2": `${ethernet}894f0fc20203001234ff`,
    "LLC": `${ethernet}002642420300000000000000000000000000`,
    "SNAP": `${ethernet}0026aaaa0300000008060001080006040001`,
    "LLDP": `${ethernet}88cc0207040200000000010403`,
  };
  test.each(Object.entries(packets))("packet: %s", (_name, packet) => {
    const hex = packetOut(packet);
    expect(formatBytes(Buffer.from(hex, "hex"))).toBe(theirs(hex));
  });

  const refused = message(14, "00".repeat(48));
  const flowMod = (match: string, actions = ""): string => {
    const length = match.length / 2 + 4;
    const padded = match + "00".repeat((8 - (length % 8)) % 8);
    const size = (bytes: number): string => bytes.toString(16).padStart(4, "0");
    return message(14, `${"00".repeat(22)}8000${"ff".repeat(12)}000000000001${size(length)}${padded}0004${size(8 + actions.length / 2)}00000000${actions}`);
  };
  const others: Record<string, string> = {
    "hello of many versions": message(0, "0001000800000072"),
    "hello with junk": message(0, "6578747261"),
    "error with text": message(1, "00000000226e6f5c01222c"),
    "error about a refused request": message(1, `00010006${refused}`),
    "error about half a request": message(1, `00010006${refused.slice(0, 60)}`),
    "error about an echo": message(1, `0001000a${message(2, "616263")}`),
    "error about an unknown type": message(1, `00010001${message(77, "616263")}`),
    "error about an unknown experimenter": message(1, `00010003${message(4, "12345678000000010000")}`),
    "error about a multipart request with flags": message(1, `00010006${message(18, "0001000100000000")}`),
    "multipart flags": message(18, "000000fe00000000"),
    "nothing in a reply": message(19, "000d000000000000"),
    "queues without any": message(23, "0000000100000000"),
    "queues": message(23, "000000010000000000000009000000010030000000000000000100100000000001f40000000000000002001000000000ffff000000000000"),
    "a match of a recirculated packet": flowMod("000148040002000080000a0286dd800010012c"),
    "ports of connections of no protocol": flowMod("0001d2040000002080000a0208000001f80400500001fa04005000"),
    "tunnel metadata with a mask of some bytes": flowMod("00018f0400ff00ff80000d0401001780"),
    "tunnel flags that are not public": flowMod("0001d1040000f0f0", "ffff00180000232000210001d1040052ffff000000000000"),
    "a GTP-U type that is zero": flowMod("8000000400000001ffff2106000023200080"),
    "an ERSPAN index of another version": flowMod("ffff16080000232000000005ffff190600002320020f"),
    "registers of 64 and 128 bits": flowMod("8001010800000001000000020001e02000000000000000030000000000000000000000000000000f0000000000000000"),
    "a group of an odd type": message(15, "0002000400000001"),
  };
  test.each(Object.entries(others))("message: %s", (_name, hex) => {
    expect(formatBytes(Buffer.from(hex, "hex"))).toBe(theirs(hex));
  });
});

/** Vectors whose text differs, by name, with the reason. */
const EXCEPTIONS: ReadonlyMap<string, string> = new Map([
  ...[1, 3, 5].map((version) => [`malformed/version/version 0x${version} in FEATURES_REPLY after negotiation of 0x04`, "a version that was not agreed on is refused"] as const),
]);

describe.skipIf(!existsSync(shared))("vectors of other implementations", () => {
  test.each([
    ["ovs-wire.jsonl", 1995],
    ["ovs-tests.jsonl", 251],
    ["os-ken.jsonl", 51],
    ["loxigen.jsonl", 13],
    ["ovs-errors.jsonl", 117],
    ["malformed.jsonl", 207],
  ])("%s", (file, count) => {
    const vectors = read(new URL(file, shared)).filter(({ of, hex, text, truncated, ovs, decoder }) =>
      of === 4 && hex !== undefined && text !== undefined && truncated === undefined && ["ok", "partial"].includes(decoder ?? ovs ?? ""));
    expect(vectors.length).toBe(count);
    const differing = vectors.filter(({ name, kind, hex, text, decoder }) => {
      const printed = ours(kind, hex!);
      const expected = withoutXid(text!).replace(/^actions=/, "");
      // Long texts are cut in the file of malformed messages.
      return !EXCEPTIONS.has(name) && printed !== expected && !(decoder !== undefined && text!.length === 1500 && printed.startsWith(expected));
    });
    expect(differing.map(({ name, kind, hex }) => `${name}\n${ours(kind, hex!)}`)).toEqual([]);
  });

  test("multipart replies of several messages", () => {
    for (const vector of read(new URL("ovs-sequences.jsonl", shared))) {
      let text = "";
      new Framer().push(gunzipSync(Buffer.from(vector.gzip_base64!, "base64")), (frame) => (text += formatBytes(frame)));
      expect(text.trimEnd(), vector.name).toBe(withoutXid(gunzipSync(Buffer.from(vector.text_gzip_base64!, "base64")).toString()).trimEnd());
    }
  });
});
