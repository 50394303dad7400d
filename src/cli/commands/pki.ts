// `axion pki ...`: certificates for controllers and hosts, made on the operator's machine. No controller has to run.
import { isIP } from "node:net";
import { hostname } from "node:os";
import { resolve } from "node:path";
import type { Command } from "commander";
import { UsageError } from "../../lib/usage-error.ts";
import { Authority, type Issued } from "../pki/authority.ts";
import { record, table } from "../table.ts";
import type { StoreCall } from "./store.ts";

const DAY_MS = 86_400_000;

interface Where {
  readonly dir: string;
}
interface Lasting extends Where {
  readonly days: string;
}

function whole(name: string, value: string, max: number): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) < 1 || Number(value) > max) throw new UsageError(`${name} must be a whole number from 1 to ${max}, not ${value === "" ? "empty" : value}`);
  return Number(value);
}
const days = ({ days: value }: Lasting): number => whole("--days", value, 36_500);

const shown = ({ kind, name, file, key, addresses, until, authority }: Issued): Readonly<Record<string, unknown>> => ({
  kind, name, certificate: file, key, addresses, until: until.toISOString(), signed_by: kind === "ca" ? null : (authority ?? "none of these"), days_left: Math.floor((until.getTime() - Date.now()) / DAY_MS),
});

/** With the port that OVSDB is served on, where none is given. @throws UsageError */
function targetOf(controller: string): string {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(isIP(controller) === 6 ? `[${controller}]` : controller);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || Number(match?.[3] ?? 6640) > 65_535) throw new UsageError(`--controller ${controller}: HOST or HOST:PORT is expected, an IPv6 address with a port in []`);
  return `ssl:${isIP(host) === 6 ? `[${host}]` : host}:${match?.[3] ?? "6640"}`;
}

export function pkiCommands(program: Command, call: () => StoreCall, finish: (code: number) => void): void {
  const group = program.command("pki").description("a certificate authority in a folder, and certificates for controllers and hosts; needs openssl, and no controller");
  group.helpCommand(false);
  const command = (name: string, about: string): Command => group.command(name).description(about).option("--dir <dir>", "folder of the authority; its keys are worth as much as every switch", "./pki");
  const lasting = (name: string, about: string, fallback: string): Command => command(name, about).option("--days <days>", "how long it is valid", fallback);
  const said = async (values: Readonly<Record<string, unknown>>, lines: readonly string[]): Promise<void> => {
    const { json, write } = call();
    await write(json ? `${JSON.stringify(values)}\n` : `${record(values)}${lines.length > 0 ? `\n${lines.join("\n")}\n` : ""}`);
    finish(0);
  };
  const forHost = (authority: Authority, name: string, controllers: readonly string[]): string[] => {
    const { certificate, key, trusted } = authority.path("host", name);
    return [
      `To host ${name} go these three files, the key readable by root alone:`, ...[key, certificate, trusted].map((file) => `  ${resolve(file)}`),
      "and there, with the folder that they are in for DIR:",
      `  ovs-vsctl set-ssl DIR/${name}.key DIR/${name}.pem DIR/ca.pem`,
      ...(controllers.length > 0 ? [`  ovs-vsctl set-manager ${controllers.map(targetOf).join(" ")}`] : ["  ovs-vsctl set-manager ssl:CONTROLLER:6640"]),
    ];
  };
  const forController = (authority: Authority, name: string): string[] => {
    const { certificate, key, trusted } = authority.path("controller", name);
    return ["The controller is started with", `  --tls-cert ${resolve(certificate)} --tls-key ${resolve(key)} --tls-ca ${resolve(trusted)}`, "and looks for new ones in these files by itself."];
  };

  lasting("init", "make the authority", "3650").action(async (where: Lasting) => {
    const authority = new Authority(where.dir);
    await said(shown(await authority.init(days(where))), [`${authority.trusted} is what everybody trusts; next: axion pki controller NAME --address ADDRESS`]);
  });

  lasting("controller", "a certificate for a controller; again for the same name: a new one in its place", "825")
    .argument("[name]", "its name", hostname())
    .option("--address <address>", "a name or IP address that it is reached at; several times for several", collect, [])
    .action(async (name: string, { address, ...where }: Lasting & { address: readonly string[] }) => {
      const authority = new Authority(where.dir);
      await said(shown(await authority.issue("controller", name, address, days(where))), forController(authority, name));
    });

  lasting("host", "a certificate for a host: it proves that the host has this system-id", "825")
    .argument("<system-id>", "external_ids:system-id of its database")
    .option("--controller <host>", "where it connects to, HOST or HOST:PORT; several times for several", collect, [])
    .action(async (name: string, { controller, ...where }: Lasting & { controller: readonly string[] }) => {
      for (const one of controller) targetOf(one);
      const authority = new Authority(where.dir);
      await said(shown(await authority.issue("host", name, [], days(where))), forHost(authority, name, controller));
    });

  command("list", "what was issued, by which authority, until when; exit code 1 when something has ended")
    .action(async ({ dir }: Where) => {
      const { json, write } = call();
      const all = await new Authority(dir).list();
      const rows = all.map(shown);
      await write(json ? `${JSON.stringify({ certificates: rows })}\n` : table(["KIND", "NAME", "SIGNED BY", "UNTIL", "DAYS LEFT", "ADDRESSES"], rows.map((row) => [row.kind, row.name, row.signed_by, row.until, row.days_left, row.addresses])));
      finish(all.some(({ until }) => until.getTime() < Date.now()) ? 1 : 0);
    });

  lasting("renew", "new keys and certificates, by the newest authority, for what ends soon or an older authority signed", "825")
    .option("--within <days>", "what ends within so many days", "60")
    .option("--all", "everything, whenever it ends")
    .action(async ({ within, all, ...where }: Lasting & { within: string; all?: true }) => {
      const authority = new Authority(where.dir);
      const soon = Date.now() + whole("--within", within, 36_500) * DAY_MS;
      const issued = await authority.list();
      const newest = Number(issued.findLast(({ kind }) => kind === "ca")!.name);
      const renewed: Issued[] = [];
      for (const { kind, name, addresses, until, authority: by } of issued) {
        if (kind === "ca" || !(all === true || by !== newest || until.getTime() < soon)) continue;
        renewed.push(await authority.issue(kind, name, addresses.map((one) => one.replace(/^[^:]+:/, "")), days(where)));
      }
      const { json, write } = call();
      if (json) await write(`${JSON.stringify({ renewed: renewed.map(shown) })}\n`);
      else await write(renewed.length === 0 ? "nothing has to be renewed\n" : `${table(["KIND", "NAME", "UNTIL"], renewed.map(({ kind, name, until }) => [kind, name, until.toISOString()]))}\nControllers have it as soon as the files are where they read them; on a host the certificate is replaced first, the key last: Open vSwitch looks at both when it finds another key.\n`);
      finish(0);
    });

  lasting("rotate", "the next authority: both are trusted from now on, the new one signs", "3650").action(async (where: Lasting) => {
    const authority = new Authority(where.dir);
    await said(shown(await authority.rotate(days(where))), [
      "Step by step, none before the one above is done everywhere; sessions go on all the while:", `  1. ${resolve(authority.trusted)}, which has both, to every controller and host`,
      "  2. axion pki renew, and the new keys and certificates to where they belong", "  3. axion pki retire, and ca.pem once more to everybody",
    ]);
  });

  command("retire", "end the trust in older authorities, when nothing is signed by one any more").action(async ({ dir }: Where) => {
    const authority = new Authority(dir);
    await said({ retired: await authority.retire(), trusted: authority.trusted }, [`${resolve(authority.trusted)} to every controller and host`]);
  });
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
