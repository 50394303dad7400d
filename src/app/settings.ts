// Settings of an app: declared like the core's own flags, given on the command line, in the environment or in the configuration file, and
// the same from start to stop.
import { UsageError } from "../lib/usage-error.ts";

/** What a value has to look like. */
export type SettingKind = "text" | "boolean" | "host:port" | "file" | "list" | { readonly oneOf: readonly string[] } | { readonly integer: readonly [min: number, max: number] };

export interface SettingDecl {
  readonly kind: SettingKind;
  /** What stands for the value in --help; default: by kind. */
  readonly value?: string;
  /** As it would be given; absent: there may be none. */
  readonly fallback?: string;
  readonly about: string;
}
/** By the names of flags: `{ mtu: {...} }` is --mtu, AXION_MTU and the key mtu. Unique among the core's and all apps'. */
export type SettingDecls = Readonly<Record<string, SettingDecl>>;

type ValueOf<K extends SettingKind> = K extends "boolean" ? boolean
  : K extends "list" ? readonly string[]
  : K extends "host:port" ? { readonly host: string; readonly port: number }
  : K extends "file" ? Buffer
  : K extends { readonly oneOf: readonly (infer V)[] } ? V
  : K extends { readonly integer: unknown } ? number
  : string;
/** boolean: false, list: none, where nothing is given; others are undefined unless they have a fallback. `file` is what it holds, as read at the start. */
export type SettingValues<S extends SettingDecls> = {
  readonly [N in keyof S]: ValueOf<S[N]["kind"]> | (S[N]["kind"] extends "boolean" | "list" ? never : S[N] extends { readonly fallback: string } ? never : undefined);
};

/** What an app lists in `settings`, and by which they are read: `view.settings(overlaySettings).mtu`. */
export interface Settings<S extends SettingDecls = SettingDecls> {
  readonly declared: S;
}

/** `defineSettings({ mtu: { kind: { integer: [1280, 65535] }, fallback: "1500", about: "..." } })`, in the app's model.ts. */
export const defineSettings = <const S extends SettingDecls>(declared: S): Settings<S> => ({ declared });

/** A value as it was given. `read`: the file of that name. @throws UsageError naming `where` */
export function settingValue({ kind }: SettingDecl, text: string, where: string, read: (path: string, where: string) => Buffer): unknown {
  if (kind === "text") return text;
  if (kind === "file") return read(text, where);
  if (kind === "boolean") {
    if (!["true", "false", "1", "0", ""].includes(text)) throw new UsageError(`${where} must be true or false, not ${text}`);
    return text === "true" || text === "1";
  }
  if (kind === "list") return [...new Set(text.split(",").map((item) => item.trim()).filter((item) => item !== ""))];
  if (kind === "host:port") {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
    if (match === null || Number(match[3]) > 65_535) throw new UsageError(`${where} must be HOST:PORT, not ${text}`);
    return { host: match[1] ?? match[2]!, port: Number(match[3]) };
  }
  if ("oneOf" in kind) {
    if (!kind.oneOf.includes(text)) throw new UsageError(`${where} must be one of ${kind.oneOf.join(", ")}, not ${text}`);
    return text;
  }
  const [min, max] = kind.integer;
  if (!/^-?\d{1,15}$/.test(text) || Number(text) < min || Number(text) > max) throw new UsageError(`${where} must be a whole number from ${min} to ${max}, not ${text}`);
  return Number(text);
}

/** What counts where nothing is given. */
export function defaultSettings(declared: SettingDecls): Readonly<Record<string, unknown>> {
  const none = (path: string, where: string): never => {
    throw new UsageError(`${where}: a file has no fallback, not ${path}`);
  };
  return Object.fromEntries(Object.entries(declared).map(([name, decl]) => [
    name, decl.fallback !== undefined ? settingValue(decl, decl.fallback, `the fallback of --${name}`, none) : decl.kind === "boolean" ? false : decl.kind === "list" ? [] : undefined,
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
