// The command line: one line in, one line out, whatever is in it.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { PassThrough, Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

import { runCommand } from "./command.ts";

interface Ran {
  readonly code: number;
  readonly lines: readonly string[];
  readonly stderr: string;
}

async function openflow(args: readonly string[], input: string | readonly string[] = ""): Promise<Ran> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const text = (stream: PassThrough): Promise<string> => new Promise((resolve) => {
    let all = "";
    stream.setEncoding("utf8").on("data", (chunk: string) => (all += chunk)).on("end", () => resolve(all));
  });
  const texts = Promise.all([text(stdout), text(stderr)]);
  const stdin = Readable.from((typeof input === "string" ? [input] : input).map((piece) => Buffer.from(piece)));
  const code = await runCommand(args, { stdin, stdout, stderr });
  stdout.end();
  stderr.end();
  const [out, err] = await texts;
  expect(out === "" || out.endsWith("\n")).toBe(true);
  return { code, lines: out.split("\n").slice(0, -1), stderr: err };
}

const ECHO = "0402000800000001";
const FLOW_MOD = "040e0050000000070000000000000000000000000000000000000000000080000000000000000000" +
  "00000000000000000001000c80000004000000010000000000040018000000000000001000000002000000000000" + "0000";

describe("one line in, one line out", () => {
  test("print", async () => {
    const { code, lines } = await openflow(["print"], `${ECHO}\n04 15 00 08 00 00 00 02\r\n0x041100080000000a\n`);
    expect(code).toBe(0);
    expect(lines).toEqual(["OFPT_ECHO_REQUEST (OF1.3): 0 bytes of payload", "OFPT_BARRIER_REPLY (OF1.3):", expect.stringMatching(/^error: OFPET_\w+\/OFP\w+ at \d+: /)]);
  });

  test("a newline in a text is written \\n, or kept with --raw", async () => {
    const hello = "040000100000000000010008000000 10";
    expect((await openflow(["print"], hello)).lines).toEqual(["OFPT_HELLO (OF1.3):\\n version bitmap: 0x04"]);
    expect((await openflow(["print", "--raw"], hello)).lines).toEqual(["OFPT_HELLO (OF1.3) (xid=0x0):", " version bitmap: 0x04"]);
  });

  test("parts of messages", async () => {
    expect((await openflow(["print", "--as", "actions", "0012000800000000", ""])).lines).toEqual(["pop_vlan", "drop"]);
    expect((await openflow(["print", "--as=oxm"], "0001000400000000\n0001000a80000a020800000000000000\n0001000c80000a020800")).lines).toEqual([
      "<any>", "OXM_OF_ETH_TYPE(0800)", expect.stringMatching(/^error: OFPET_BAD_MATCH\/OFPBMC_BAD_LEN at \d+: /),
    ]);
    expect((await openflow(["roundtrip", "--as", "nxm"], "0000060208000000")).lines).toEqual(["0000060208000000"]);
    expect((await openflow(["roundtrip", "--as", "oxm"], "80000a020800\n0001000a80000a02080000000000 0000")).lines).toEqual(["80000a020800", "0001000a80000a020800000000000000"]);
  });

  test("there and back: a flow's text, its bytes, its text", async () => {
    const flow = "table=3,priority=7,tcp,reg0=0x1/0xf,tp_dst=80 actions=ct(commit,zone=5,nat(src=10.0.0.1)),resubmit(,4)";
    const [hex] = (await openflow(["parse-flow"], flow)).lines;
    expect(hex).toMatch(/^040e[0-9a-f]{4}00000000/);
    expect((await openflow(["print", hex!])).lines[0]).toContain("table:3 priority=7,tcp,reg0=0x1/0xf,tp_dst=80 actions=ct(commit,zone=5,nat(src=10.0.0.1)),resubmit(,4)");
    expect((await openflow(["roundtrip", hex!])).lines).toEqual([hex]);
    expect((await openflow(["parse-flow", "--xid", "258", "actions=drop"])).lines[0]?.slice(8, 16)).toBe("00000102");
  });

  test("a refused line says which byte, and the next goes on", async () => {
    const { code, lines } = await openflow(["print"], ["zz\n", "040\n", "\n", `${ECHO.slice(0, 10)}\n`, ECHO]);
    expect(code).toBe(0);
    expect(lines).toHaveLength(5);
    for (const line of lines.slice(0, 4)) expect(line).toMatch(/^error: OFPET_BAD_REQUEST\/OFPBRC_BAD_LEN at \d+: \S/);
    expect(lines[4]).toContain("ECHO_REQUEST");
    const texts = await openflow(["parse-flow"], "in_port=1\nactions=drop\nnosuch=1,actions=drop\nactions=output:1x\n");
    expect(texts.lines.map((l) => l.startsWith("error: "))).toEqual([true, false, true, true]);
    for (const line of texts.lines) if (line.startsWith("error")) expect(line).toMatch(/^error: \w+\/\w+ at \d+: \S/);
  });

  test("print judges as Open vSwitch does, roundtrip by structure alone", async () => {
    const unknownVendor = "0404001000000001deadbeef00000001";
    expect((await openflow(["print", unknownVendor])).lines[0]).toMatch(/^error: OFPET_BAD_REQUEST\/OFPBRC_BAD_VENDOR at 8: /);
    expect((await openflow(["roundtrip", unknownVendor])).lines).toEqual([unknownVendor]);
    expect((await openflow(["roundtrip", "--strict", unknownVendor])).lines[0]).toMatch(/^error: /);
    expect((await openflow(["print", "--lenient", unknownVendor])).lines[0]).not.toMatch(/^error: /);
  });

  test("lines in any pieces, a thousand in one, none too long to be answered", async () => {
    const input = `${FLOW_MOD}\n`.repeat(20);
    const whole = (await openflow(["roundtrip"], input)).lines;
    expect(whole).toHaveLength(20);
    expect((await openflow(["roundtrip"], input.match(/[^]/g)!)).lines).toEqual(whole);
    expect((await openflow(["print"], `${ECHO}\n`.repeat(1000))).lines).toHaveLength(1000);
    const long = await openflow(["print"], ["00".repeat(200_000), "00".repeat(100_000), `\n${ECHO}\n`]);
    expect(long.lines).toHaveLength(2);
    expect(long.lines[0]).toMatch(/^error: .*more than \d+ characters$/);
    expect(long.lines[1]).toContain("ECHO_REQUEST");
  });
});

describe("command lines", () => {
  test.each([[[]], [["frob"]], [["print", "--as", "frame"]], [["print", "--as"]], [["roundtrip", "--raw"]], [["parse-flow", "--xid", "-1"]], [["print", "--nosuch"]]])("%j is refused with the usage", async (args) => {
    const { code, lines, stderr } = await openflow(args);
    expect({ code, lines }).toEqual({ code: 2, lines: [] });
    expect(stderr).toMatch(/^openflow: .+\n\nusage: openflow/);
  });

  test("--help and --version", async () => {
    expect((await openflow(["--help"])).lines[0]).toMatch(/^usage: openflow/);
    expect((await openflow(["print", "--help"])).code).toBe(0);
    expect((await openflow(["--version"])).lines[0]).toMatch(/^\d+\.\d+\.\d+/);
  });

  test.skipIf(!existsSync(fileURLToPath(new URL("../../dist/command/cli.js", import.meta.url))))("as a process", () => {
    const bin = fileURLToPath(new URL("../../bin/openflow.js", import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [bin, "print"], { input: ECHO, encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "OFPT_ECHO_REQUEST (OF1.3): 0 bytes of payload\n" });
  });
});
