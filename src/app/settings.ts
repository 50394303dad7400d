// Settings of an app: declared like the core's own flags, given on the command line, in the environment or in the configuration file, and
// the same from start to stop.
import { parseIp } from "../lib/address.ts";
import { UsageError } from "../lib/usage-error.ts";

/** What a value has to look like. */
export type SettingKind =
  | "text" | "boolean" | "host:port" | "file" | "list"
  /** http: or https:. */
  | "url"
  /** A DNS name; the value is lower case and has no dot at its end. */
  | "domain"
  /** A list of addresses, each with a port (`192.0.2.1:5353`, `[2001:db8::1]:5353`) or with this one. */
  | { readonly addresses: { readonly port: number } }
  | { readonly oneOf: readonly string[] } | { readonly integer: readonly [min: number, max: number] }
  /** A list, each of one of these. */
  | { readonly listOf: readonly string[] }
  /** `10:20,30:40`. */
  | { readonly ranges: readonly [min: number, max: number] }
  /** `name:10:20,other`: ranges by name; a name alone has none. */
  | { readonly namedRanges: readonly [min: number, max: number] }
  /** `name:10,other:20`. */
  | { readonly namedNumbers: readonly [min: number, max: number] };

/** Numbers from one to another, both included. */
export type NumberRange = readonly [from: number, to: number];

/** Who is spoken to: an address as text, and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface SettingDecl {
  readonly kind: SettingKind;
  /** What stands for the value in --help; default: by kind. */
  readonly value?: string;
  /** As it would be given; absent: there may be none. */
  readonly fallback?: string;
  readonly about: string;
  /** What is wrong with a value that has the right form; undefined: nothing. Of a file: with its content. */
  readonly check?: (this: void, value: never) => string | undefined;
  /** Of a value by name: the names there may be, by the resources that there are. Default: any. */
  readonly names?: (resources: readonly { readonly name: string; readonly quota?: object; readonly limits?: object }[]) => readonly string[];
}
/** By the names of flags: `{ mtu: {...} }` is --mtu, AXION_MTU and the key mtu. Unique among the core's and all apps'. */
export type SettingDecls = Readonly<Record<string, SettingDecl>>;

type ValueOf<K extends SettingKind> = K extends "boolean" ? boolean
  : K extends "list" ? readonly string[]
  : K extends { readonly listOf: readonly (infer V)[] } ? readonly V[]
  : K extends { readonly ranges: unknown } ? readonly NumberRange[]
  : K extends { readonly namedRanges: unknown } ? ReadonlyMap<string, readonly NumberRange[]>
  : K extends { readonly namedNumbers: unknown } ? ReadonlyMap<string, number>
  : K extends { readonly addresses: unknown } ? readonly Endpoint[]
  : K extends "host:port" ? { readonly host: string; readonly port: number }
  : K extends "file" ? Buffer
  : K extends { readonly oneOf: readonly (infer V)[] } ? V
  : K extends { readonly integer: unknown } ? number
  : string;
/** boolean: false, lists of any kind: none, where nothing is given; others are undefined unless they have a fallback. `file` is what it holds, as read at the start. */
export type SettingValues<S extends SettingDecls> = {
  readonly [N in keyof S]: ValueOf<S[N]["kind"]> | (S[N]["kind"] extends "boolean" | ListKind ? never : S[N] extends { readonly fallback: string } ? never : undefined);
};

type ListKind = "list" | { readonly addresses: unknown } | { readonly listOf: unknown } | { readonly ranges: unknown } | { readonly namedRanges: unknown } | { readonly namedNumbers: unknown };

/** What an app lists in `settings`, and by which they are read: `view.settings(overlaySettings).mtu`. */
export interface Settings<S extends SettingDecls = SettingDecls> {
  readonly declared: S;
}

/** `defineSettings({ mtu: { kind: { integer: [1280, 65535] }, fallback: "1500", about: "..." } })`, in the app's model.ts. */
export const defineSettings = <const S extends SettingDecls>(declared: S): Settings<S> => ({ declared });

/** Labels of letters, digits and hyphens, as names of hosts have them. RFC 1123 section 2.1 */
const DOMAIN = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** An address with a port behind it (`192.0.2.1:53`, `[2001:db8::1]:53`), or without: then with `port`. undefined: it is none. */
export function endpointOf(text: string, port: number): Endpoint | undefined {
  const match = /^(?:\[([^\]]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? text;
  const given = match?.[3] === undefined ? port : Number(match[3]);
  return parseIp(address) === undefined || given < 1 || given > 65_535 ? undefined : { address, port: given };
}

/** A value as it was given. `read`: the file of that name. @throws UsageError naming `where` */
export function settingValue(decl: SettingDecl, text: string, where: string, read: (path: string, where: string) => Buffer): unknown {
  const value = formed(decl, text, where, read);
  const wrong = (decl.check as ((value: unknown) => string | undefined) | undefined)?.(value);
  if (wrong !== undefined) throw new UsageError(`${where} ${wrong}`);
  return value;
}

function formed({ kind }: SettingDecl, text: string, where: string, read: (path: string, where: string) => Buffer): unknown {
  if (kind === "text") return text;
  if (kind === "url") {
    if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw new UsageError(`${where} must be an http: or https: URL, not ${text}`);
    return text;
  }
  if (kind === "domain") {
    const name = text.toLowerCase().replace(/\.$/, "");
    if (!DOMAIN.test(name) || name.length > 253) throw new UsageError(`${where} must be a DNS name, not ${text}`);
    return name;
  }
  if (kind === "file") return read(text, where);
  if (kind === "boolean") {
    if (!["true", "false", "1", "0", ""].includes(text)) throw new UsageError(`${where} must be true or false, not ${text}`);
    return text === "true" || text === "1";
  }
  if (kind === "list") return itemsOf(text);
  if (kind === "host:port") {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
    if (match === null || Number(match[3]) > 65_535) throw new UsageError(`${where} must be HOST:PORT, not ${text}`);
    return { host: match[1] ?? match[2]!, port: Number(match[3]) };
  }
  if ("addresses" in kind) {
    return itemsOf(text).map((item): Endpoint => {
      const endpoint = endpointOf(item, kind.addresses.port);
      if (endpoint === undefined) throw new UsageError(`${where} must be a list of addresses, each with a port or without, not of ${item}`);
      return endpoint;
    });
  }
  if ("listOf" in kind) {
    const items = itemsOf(text);
    for (const item of items) if (!kind.listOf.includes(item)) throw new UsageError(`${where} must be a list of ${kind.listOf.join(", ")}, not of ${item}`);
    return items;
  }
  if ("ranges" in kind) return itemsOf(text).map((item) => rangeOf(item, kind.ranges, where));
  if ("namedRanges" in kind) {
    const ranges = new Map<string, NumberRange[]>();
    for (const item of itemsOf(text)) {
      const colon = item.indexOf(":");
      const name = colon < 0 ? item : item.slice(0, colon);
      if (name === "") throw new UsageError(`${where}: there is no name before ${item}`);
      ranges.set(name, [...(ranges.get(name) ?? []), ...(colon < 0 ? [] : [rangeOf(item.slice(colon + 1), kind.namedRanges, where)])]);
    }
    return ranges;
  }
  if ("namedNumbers" in kind) {
    const [min, max] = kind.namedNumbers;
    return new Map(itemsOf(text).map((item) => {
      const match = /^([^:]+):(-?\d{1,10})$/.exec(item);
      if (match === null || Number(match[2]) < min || Number(match[2]) > max) throw new UsageError(`${where} must be names with numbers from ${min} to ${max} (NAME:N), not ${item}`);
      return [match[1]!, Number(match[2])] as const;
    }));
  }
  if ("oneOf" in kind) {
    if (!kind.oneOf.includes(text)) throw new UsageError(`${where} must be one of ${kind.oneOf.join(", ")}, not ${text}`);
    return text;
  }
  const [min, max] = kind.integer;
  if (!/^-?\d{1,15}$/.test(text) || Number(text) < min || Number(text) > max) throw new UsageError(`${where} must be a whole number from ${min} to ${max}, not ${text}`);
  return Number(text);
}

const itemsOf = (text: string): string[] => [...new Set(text.split(",").map((item) => item.trim()).filter((item) => item !== ""))];

function rangeOf(text: string, [min, max]: readonly [number, number], where: string): NumberRange {
  const match = /^(\d{1,10}):(\d{1,10})$/.exec(text);
  const [from, to] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || from < min || to > max || from > to) throw new UsageError(`${where}: a range is FROM:TO, within ${min} and ${max}, not ${text}`);
  return [from, to];
}

const isText = (kind: SettingKind): boolean => typeof kind === "string" || "oneOf" in kind || "integer" in kind;

/** What counts where nothing is given. */
export function defaultSettings(declared: SettingDecls): Readonly<Record<string, unknown>> {
  const none = (path: string, where: string): never => {
    throw new UsageError(`${where}: a file has no fallback, not ${path}`);
  };
  return Object.fromEntries(Object.entries(declared).map(([name, decl]) => [
    name, decl.fallback !== undefined ? settingValue(decl, decl.fallback, `the fallback of --${name}`, none) : decl.kind === "boolean" ? false : decl.kind === "list" || !isText(decl.kind) ? settingValue(decl, "", `the fallback of --${name}`, none) : undefined,
  ]));
}

/** The settings of a controller; those of an app that is not there are what counts where nothing is given. */
export class SettingsBook {
  private readonly values = new Map<Settings, Readonly<Record<string, unknown>>>();

  set(of: Settings, values: Readonly<Record<string, unknown>>): void {
    this.values.set(of, values);
  }

  get<S extends SettingDecls>(of: Settings<S>): SettingValues<S> {
    let values = this.values.get(of);
    if (values === undefined) this.values.set(of, (values = defaultSettings(of.declared)));
    return values as SettingValues<S>;
  }

  /** Of these apps, with what was given by app. */
  static of(apps: readonly { readonly name: string; readonly settings?: Settings }[], given?: ReadonlyMap<string, Readonly<Record<string, unknown>>>): SettingsBook {
    const book = new SettingsBook();
    for (const { name, settings } of apps) if (settings !== undefined) book.set(settings, { ...defaultSettings(settings.declared), ...given?.get(name) });
    return book;
  }
}
