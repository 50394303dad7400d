// The command `openflow`: bytes to text, text to bytes, one line in and one line out; and a switch's tables. cli.ts hands it
// the process' streams.

import { readFileSync } from "node:fs";
import { Readable, type Writable } from "node:stream";

import { runDump } from "./dump.ts";
import { formatRefusal, OpenFlowError, refusal } from "../wire/errors.ts";
import { filterLines } from "./line-filter.ts";
import { encodeMessage } from "../messages/codec.ts";
import { pieces, reencode, type Piece } from "./reencode.ts";
import { parseFlow } from "../text/parse/flow.ts";
import { printBytes } from "../text/print/bytes.ts";

const usage = `usage: openflow COMMAND [OPTION]... [LINE]...

Lines come from the arguments or, without any, from stdin. Each is answered by one line on stdout, in order; a refused one by
"error: TYPE/CODE at OFFSET: reason", and the next goes on. TYPE and CODE are the error that a switch would answer, OFFSET counts bytes
(of a text: characters) from 0.

  print        hex to the text of ovs-ofctl ofp-print (parse-actions, parse-oxm ...), without the xid; a newline in it is written \\n.
               Refuses what Open vSwitch's decoder refuses.
  roundtrip    hex to hex, decoded and encoded again. Refuses only what has no structure; parts of other vendors are kept as they are.
  parse-flow   a flow as ovs-ofctl add-flow takes it to the hex of its flow-mod; "delete", "modify" ... in front as in bundle files
  dump TARGET  a switch's flows, groups and meters; openflow dump --help tells more

options of print and roundtrip:
  --as WHAT    what the hex is: message (default), actions, instructions, oxm (an ofp_match), nxm (the entries of an nx_match)
  --strict     refuse whatever Open vSwitch refuses (the default of print)
  --lenient    refuse only what has no structure (the default of roundtrip)
option of print:
  --raw        keep newlines and the xid, as ovs-ofctl ofp-print shows them: not one line a line
option of parse-flow:
  --xid N      transaction id of the message, 0 by default

  -h, --help   this text
  --version    the version of the package
`;

/** A message has at most 65,535 bytes; spaces between bytes are taken. A flow's text may be as long. */
const MAX_LINE = 4 * 65_536;

class UsageError extends Error {}

interface Options {
  as: Piece;
  strict: boolean | undefined;
  raw: boolean;
  xid: number;
  lines: string[];
}

function options(command: string, args: readonly string[]): Options {
  const found: Options = { as: "message", strict: undefined, raw: false, xid: 0, lines: [] };
  const hexCommand = command !== "parse-flow";
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const [name, inline] = arg.startsWith("--") && arg.includes("=") ? [arg.slice(0, arg.indexOf("=")), arg.slice(arg.indexOf("=") + 1)] : [arg, undefined];
    const value = (): string => {
      const given = inline ?? args[++i];
      if (given === undefined) throw new UsageError(`${name} takes a value`);
      return given;
    };
    if (name === "--as" && hexCommand) {
      const as = value();
      if (!(pieces as readonly string[]).includes(as)) throw new UsageError(`--as ${as}: one of ${pieces.join(", ")}`);
      found.as = as as Piece;
    } else if (arg === "--strict" && hexCommand) found.strict = true;
    else if (arg === "--lenient" && hexCommand) found.strict = false;
    else if (arg === "--raw" && command === "print") found.raw = true;
    else if (name === "--xid" && !hexCommand) {
      const xid = Number(value());
      if (xid >>> 0 !== xid) throw new UsageError("--xid takes a 32-bit number");
      found.xid = xid;
    } else if (arg === "--") {
      found.lines.push(...args.slice(i + 1));
      break;
    } else if (arg.startsWith("--") || (arg.startsWith("-") && hexCommand)) throw new UsageError(`${command} has no option ${arg}`);
    else found.lines.push(arg);
  }
  return found;
}

/** Hex digits, with or without spaces between bytes and "0x" in front. @throws OpenFlowError that names the byte */
function bytesOf(line: string): Buffer {
  const digits = line.trim().replace(/^0x/i, "").replace(/\s+/g, "");
  const wrong = digits.search(/[^0-9a-f]/i);
  if (wrong >= 0) throw refusal("OFPBRC_BAD_LEN", wrong >> 1, `not a hex digit: ${JSON.stringify(digits[wrong])}`);
  if (digits.length % 2 !== 0) throw refusal("OFPBRC_BAD_LEN", digits.length >> 1, "half a byte at the end");
  return Buffer.from(digits, "hex");
}

function answerer(command: string, given: Options): (line: string) => string {
  const one = (line: string): string => {
    switch (command) {
      case "print": {
        const text = printBytes(given.as, bytesOf(line), { strict: given.strict ?? true, xid: given.raw });
        return given.raw ? text : text.replaceAll("\n", "\\n");
      }
      case "roundtrip":
        return reencode(given.as, bytesOf(line), { strict: given.strict ?? false }).toString("hex");
      default:
        return encodeMessage(parseFlow(line), given.xid).toString("hex");
    }
  };
  return (line) => {
    try {
      return one(line);
    } catch (error) {
      if (error instanceof OpenFlowError) return formatRefusal(error).replaceAll(/[\r\n]+/g, " ");
      throw error;
    }
  };
}

export interface Streams {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** Runs the command line; resolves with the exit code: 0, 1 for a failure, 2 for a command line that makes no sense. */
export async function runCommand(argv: readonly string[], streams: Streams): Promise<number> {
  try {
    return await run(argv, streams);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    streams.stderr.write(`openflow: ${error.message}\n\n${usage}`);
    return 2;
  }
}

async function run(argv: readonly string[], { stdin, stdout }: Streams): Promise<number> {
  const [command, ...args] = argv;
  if (command === undefined) throw new UsageError("which command?");
  const help = ["-h", "--help"];
  if (help.includes(command) || command === "help" || (command !== "dump" && args.some((arg) => help.includes(arg)))) {
    stdout.write(usage);
    return 0;
  }
  if (command === "--version") {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
    stdout.write(`${version}\n`);
    return 0;
  }
  if (command === "dump") return runDump(args, stdout);
  if (!["print", "roundtrip", "parse-flow"].includes(command)) throw new UsageError(`no command ${command}`);
  const given = options(command, args);
  const input = given.lines.length === 0 ? stdin : Readable.from(given.lines.map((line) => `${line}\n`));
  const tooLong = formatRefusal(refusal("OFPBRC_BAD_LEN", MAX_LINE, `a line of more than ${MAX_LINE} characters`));
  await filterLines(input, stdout, { maxLine: MAX_LINE, tooLong }, answerer(command, given));
  return 0;
}
