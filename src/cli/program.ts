// The operator's command line, `axion`: every command, argument and option, declared once. --help and shell completion derive
// from it. Exit codes: 0 done, 1 it came to nothing, 2 what was asked for is not understood.
import { readFileSync } from "node:fs";
import { Argument, Command, CommanderError, Option } from "commander";
import { fileErrorText } from "../lib/files.ts";
import { UsageError } from "../lib/usage-error.ts";
import { version } from "../lib/version.ts";
import { addAccept } from "./commands/accept.ts";
import { StoreError } from "../store/errors.ts";
import type { Call, Output } from "./call.ts";
import { complete } from "./commands/complete.ts";
import { dropReasons, drops, type DropOptions } from "./commands/drops.ts";
import { completion, namesOf, shells, type Names, type Shell } from "./completion.ts";
import { history, type HistoryOptions } from "./commands/history.ts";
import { flows, formats, states, type FlowOptions } from "./commands/flows.ts";
import { lab } from "./commands/lab.ts";
import { pkiCommands } from "./commands/pki.ts";
import { plan, receipts, type PlanOptions } from "./commands/plan.ts";
import { OpsApi, OpsError } from "./ops-api.ts";
import { PkiError } from "./pki/authority.ts";
import { access, problems, tunnels, tunnelStates, type TunnelOptions } from "./commands/reports.ts";
import { rules, type RuleOptions } from "./commands/rules.ts";
import { status, switches } from "./commands/status.ts";
import { storeCommands } from "./commands/store.ts";
import { connections, trace, traceStates, type TraceCommandOptions } from "./commands/trace.ts";
import { logEvents, logs, statistics, statisticsTypes, type LogOptions, type StatisticsOptions } from "./commands/traffic.ts";

interface GlobalOptions {
  readonly opsUrl: string;
  readonly opsTokenFile?: string;
  readonly json?: true;
}

/** @throws UsageError */
function tokenOf(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new UsageError(`--ops-token-file: cannot read ${file}: ${fileErrorText(error)}`);
  }
  if (!/^[\x21-\x7e]{1,1024}$/.test(text)) throw new UsageError(`--ops-token-file: ${file} holds no token`);
  return text;
}

/** The commands; `finish` is told the exit code of the one that ran. */
export function makeProgram(output: Output, finish: (code: number) => void): Command {
  const program = new Command("axion").description("The operator's view of a running Axion controller, over its ops listener.").version(version(), "-V, --version", "print the version");
  program.exitOverride().configureHelp({ showGlobalOptions: true });
  program.configureOutput({ writeOut: (text) => void output.write(text), writeErr: (text) => output.error(text), outputError: (text, write) => write(`axion: ${text.replace(/^error: /, "").replace(/\.?\s*$/, "").replaceAll("\n", " ")}; --help lists what there is\n`) });
  program.helpOption("-h, --help", "print this help").helpCommand("help [command]", "print the help of a command");
  program.addOption(new Option("--ops-url <url>", "ops listener of the controller").env("AXION_OPS_URL").default("http://127.0.0.1:9697"));
  program.addOption(new Option("--ops-token-file <file>", "file with the controller's ops token, where it wants one").env("AXION_OPS_TOKEN_FILE"));
  program.option("--json", "JSON for programs instead of tables");
  program.addHelpText("after", "\nExit codes: 0 done, 1 it came to nothing, 2 what was asked for is not understood.");

  const call = (idleMs?: number): Call => {
    const { opsUrl, opsTokenFile, json } = program.opts<GlobalOptions>();
    const where = program.getOptionValueSource("opsUrl") === "env" ? "AXION_OPS_URL" : "--ops-url";
    return { api: new OpsApi(opsUrl, where, opsTokenFile === undefined ? undefined : tokenOf(opsTokenFile), idleMs), json: json === true, color: output.color === true, columns: output.columns, write: (text) => (text === "" ? Promise.resolve() : output.write(text)), warn: (text) => output.error(`axion: ${text}\n`) };
  };

  program
    .command("start")
    .description("run the controller; its flags come right behind: axion start --help lists them")
    .argument("[flags...]", "of the controller")
    .allowUnknownOption()
    .helpOption(false)
    .action(() => {
      throw new UsageError("start stands first, its flags behind it: axion start [flags]");
    });
  program.command("status").description("is the controller well: readiness, generation, counts of switches and flows; exit code 1 when it is not ready").action(async () => finish(await status(call())));
  program.command("switches").description("every switch with its state, or all that is known of one").argument("[id]", "one switch").action(async (id?: string) => finish(await switches(call(), id)));
  program
    .command("flows")
    .description("flows of the switches, each with the app, rule and API resources that caused it")
    .option("--switch <id>", "of one switch")
    .option("--table <table>", "of one table, by name or number")
    .option("--resource <resource>", "caused by one API resource, by id or name")
    .option("--app <name>", "of one network function")
    .option("--match <match>", "whose match has these fields, in ovs-ofctl's syntax")
    .addOption(new Option("--state <state>", "as they should be (default), as they are on the switch, or the difference").choices(states))
    .option("--at <instant>", "as they were wanted then: a generation, or an instant such as 2026-01-31T12:00:00Z")
    .option("--stats", "with packet and byte counts and ages, asked of the switches")
    .option("--rate <seconds>", "with packets and bytes a second, counted over so many (1 to 60); needs --switch")
    .option("--raw", "numbers of tables, registers and ports in place of their names")
    .option("--text", "flows alone, as ovs-ofctl dump-flows prints them")
    .option("--follow", "what is added, changed and removed from now on, until interrupted")
    .addOption(new Option("--format <format>", "a table (default), text as ovs-ofctl prints it, or JSON").choices(formats))
    .action(async (options: FlowOptions) => {
      finish(await flows(call(), options));
    });
  program
    .command("trace")
    .description("a packet's way over the switches and back, or why it does not arrive; exit code 1 when it does not")
    .argument("[from]", "id or name of the port that sends, or external: a machine outside")
    .argument("[to]", "id or name of a port, or an address")
    .option("--protocol <protocol>", "icmp (default), tcp, udp, sctp, or a number")
    .option("--port <n>", "the receiver's, of tcp, udp and sctp")
    .option("--source-port <n>", "the sender's (40000)")
    .option("--size <bytes>", "of the IP packet")
    .option("--source <address>", "sent as from this address")
    .option("--source-mac <mac>", "sent as from this MAC address")
    .option("--ttl <n>", "time to live (64)")
    .addOption(new Option("--ct <connection>", "opens a connection (default), or goes on in one").choices(connections))
    .addOption(new Option("--state <state>", "over the flows that switches have (default), or should have").choices(traceStates))
    .option("--at <instant>", "over what switches should have had at a generation, or at an instant such as 2026-01-31T12:00:00Z")
    .option("--no-reverse", "without the way back")
    .option("--hops", "with match and actions of every flow")
    .option("--switch <id>", "in place of ports: at this switch")
    .option("--flow <match>", "this packet, in ovs-ofctl's syntax")
    .action(async (from: string | undefined, to: string | undefined, options: TraceCommandOptions) => finish(await trace(call(), from, to, options)));
  program.command("problems").description("what is wrong now, worst first").action(async () => finish(await problems(call())));
  program
    .command("tunnels")
    .description("tunnels between hosts, each direction, the worst first: state, latency, loss, MTU")
    .option("--switch <id>", "from or to one host")
    .addOption(new Option("--state <state>", "in one state").choices(tunnelStates))
    .action(async (options: TunnelOptions) => finish(await tunnels(call(), options)));
  program
    .command("drops")
    .description("packets of ports that switches drop, by port and reason, those first that go on")
    .option("--port <port>", "of one port, by id or name")
    .option("--project <id>", "of ports of one project")
    .option("--switch <id>", "at one host")
    .addOption(new Option("--reason <reason>", "for one reason").choices(dropReasons))
    .action(async (options: DropOptions) => finish(await drops(call(), options)));
  program
    .command("statistics")
    .description("packets and bytes that ports, routers and floating IPs let pass")
    .addOption(new Option("--type <type>", "of these alone").choices(statisticsTypes))
    .option("--project <id>", "of one project")
    .option("--id <id>", "of one port, router or floating IP, by id or name")
    .action(async (options: StatisticsOptions) => finish(await statistics(call(), options)));
  program
    .command("logs")
    .description("what security groups accepted and dropped of logged ports, the latest first")
    .option("--project <id>", "logs of one project")
    .option("--log <log>", "of one log, by id or name")
    .option("--port <port>", "of one port, by id or name")
    .addOption(new Option("--event <event>", "of one kind").choices(logEvents))
    .action(async (options: LogOptions) => finish(await logs(call(), options)));
  program
    .command("policy")
    .alias("rules")
    .description("rules of security groups: what each has let pass, those that others shadow, what would tighten them")
    .option("--project <id>", "of one project")
    .option("--group <group>", "of one security group, by id or name")
    .option("--port <port>", "of the groups of one port, by id or name")
    .option("--unused-for <days>", "that have let nothing pass for so many days")
    .option("--shadowed", "of which others say all that they say")
    .option("--tighten", "the calls of the API that would tighten")
    .option("--plan", "with --tighten: what each comes to, and how to make it just so")
    .action(async (options: RuleOptions) => finish(await rules(call(), options)));
  program.command("access").description("access rules of the API that are in force, and which of them a policy file made").action(async () => finish(await access(call())));
  program
    .command("history")
    .description("what changed, by which call, when, the newest first; one generation; or the difference of two instants")
    .argument("[generation]", "one change")
    .option("--resource <resource>", "of one API resource, by id or name; of one that was deleted by its id")
    .option("--project <id>", "made by one project, or in it")
    .option("--since <instant>", "after a generation, or an instant such as 2026-01-31T12:00:00Z")
    .option("--until <instant>", "up to one")
    .option("--limit <n>", "how many at most (100)")
    .option("--from <instant>", "the difference from this instant")
    .option("--to <instant>", "to this one (now)")
    .option("--switch <id>", "with what became of the flows of one switch")
    .action(async (generation: string | undefined, options: HistoryOptions) => finish(await history(call(), generation, options)));
  program
    .command("plan")
    .description("what a call of the API would come to: resources, flows of each switch; nothing is changed, but with --apply")
    .argument("<method>", "POST, PUT or DELETE")
    .argument("<path>", "such as /v2.0/ports")
    .argument("[body]", "JSON, or @ and the name of a file with it")
    .option("--project <id>", "as a call of this project; default: an administrator's")
    .option("--roles <list>", "of the project's caller, comma-separated (member)")
    .option("--apply <token>", "makes the call, if it still comes to what the plan with this token showed")
    .action(async (method: string, path: string, body: string | undefined, options: PlanOptions) => finish(await plan(call(), method, path, body, options)));
  program
    .command("receipts")
    .description("which switches have confirmed the last changes, and how long it took; or one generation, switch by switch")
    .argument("[generation]", "one change")
    .option("--limit <n>", "how many at most (20)")
    .action(async (generation: string | undefined, { limit }: { limit?: string }) => finish(await receipts(call(), generation, limit)));
  pkiCommands(program, call, finish);
  addAccept(storeCommands(program, call, finish), call, finish);
  program
    .command("lab")
    .description("make the demo's lab on this machine: hypervisors with real switches, a controller, two tenants, an outside (as npm run demo)")
    .option("--check", "end when every check is made, 0 only if all held")
    .option("--cluster", "three controllers over three etcd, one of which is killed while VMs ping each other")
    .addOption(new Option("--encap <type>", "how hosts tunnel to each other").choices(["geneve", "vxlan", "gre"]))
    .addOption(new Option("--underlay <family>", "what the tunnels run over").choices(["ipv4", "ipv6"]))
    .action(async ({ check, cluster, encap, underlay }: { check?: true; cluster?: true; encap?: string; underlay?: string }) =>
      finish(await lab([...(check === true ? ["--check"] : []), ...(cluster === true ? ["--cluster"] : []), ...(encap === undefined ? [] : ["--encap", encap]), ...(underlay === undefined ? [] : ["--underlay", underlay])])));
  program
    .command("completion")
    .description("print a script for the shell's completion, such as: source <(axion completion bash)")
    .addArgument(new Argument("<shell>", "which shell").choices(shells))
    .action(async (shell: Shell) => {
      await output.write(completion(program, shell));
      finish(0);
    });

  program
    .command("complete", { hidden: true })
    .description("names that completion offers, a line each")
    .addArgument(new Argument("<names>", "of what").choices(namesOf))
    .action(async (names: Names) => finish(await complete(call(2000), names)));

  return program;
}

/** Runs one command line; its exit code. Errors are one line on the error output; a bug is shown with its stack. */
export async function runCommand(argv: readonly string[], output: Output): Promise<number> {
  let code = 0;
  try {
    await makeProgram(output, (finished) => (code = finished)).parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has said what is wrong
    if (error instanceof UsageError || error instanceof OpsError || error instanceof PkiError || error instanceof StoreError) {
      output.error(`axion: ${error.message.replace(/\p{Cc}+/gu, " ")}\n`);
      return error instanceof UsageError ? 2 : 1;
    }
    output.error(`axion: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return 1;
  }
}
