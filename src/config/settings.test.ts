// Settings of apps among the core's flags: given the same ways, refused by the same names.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { defineResource, defineSettings, resourceHandle, type Settings, type SettingValues } from "#app";
import { SettingsBook } from "../app/settings.ts";
import { UsageError } from "../lib/usage-error.ts";
import { appsLeftOut, parseConfig, usage, type Config } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "axion-settings-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const variable = (name: string): string => `AXION_${name.toUpperCase().replaceAll("-", "_")}`;

describe("settings of apps", () => {
  const first = {
    name: "first",
    settings: defineSettings({
      mtu: { kind: { integer: [1280, 9000] }, value: "BYTES", fallback: "1500", about: "largest packet" },
      "dns-servers": { kind: "list", about: "who is asked" },
      "first-mode": { kind: { oneOf: ["a", "b"] }, fallback: "a", about: "how" },
      "first-secret": { kind: "file", about: "what nobody knows" },
      "first-on": { kind: "boolean", about: "whether" },
      "first-at": { kind: "host:port", about: "where" },
      "first-text": { kind: "text", about: "what" },
    }),
  };
  const none = { name: "none" };
  const given = (argv: string[], env: Record<string, string> = {}): unknown => (parseConfig(argv, env, [first, none]) as Config).settings?.get("first");
  const refused = (argv: string[], env: Record<string, string> = {}): string => {
    try {
      parseConfig(argv, env, [first, none]);
    } catch (error) {
      if (error instanceof UsageError) return error.message;
      throw error;
    }
    return "";
  };
  const secret = file("secret", "hush");
  const read = (argv: string[], env: Record<string, string> = {}): SettingValues<typeof first.settings.declared> => SettingsBook.of([first, none], (parseConfig(argv, env, [first, none]) as Config).settings).get(first.settings);

  test("are given like flags, everywhere, typed as declared; what is not given is the fallback", () => {
    const want = { mtu: 9000, "dns-servers": ["1.1.1.1", "9.9.9.9"], "first-mode": "b", "first-secret": Buffer.from("hush"), "first-on": true, "first-at": { host: "::1", port: 53 }, "first-text": "x y" };
    const text = { mtu: "9000", "dns-servers": "1.1.1.1, 9.9.9.9", "first-mode": "b", "first-secret": secret, "first-on": "true", "first-at": "[::1]:53", "first-text": "x y" };
    expect(given(Object.entries(text).map(([n, v]) => `--${n}=${v}`))).toEqual(want);
    expect(given([], Object.fromEntries(Object.entries(text).map(([n, v]) => [variable(n), v])))).toEqual(want);
    expect(given(["--config", file("apps.json", JSON.stringify({ ...text, mtu: 9000, "dns-servers": ["1.1.1.1", "9.9.9.9"] }))])).toEqual(want);
    const { mtu, "dns-servers": servers, "first-secret": hush, "first-mode": mode }: { mtu: number; "dns-servers": readonly string[]; "first-secret": Buffer | undefined; "first-mode": "a" | "b" } = read([]);
    expect([mtu, servers, hush, mode, read([])["first-on"], read([])["first-at"]]).toEqual([1500, [], undefined, "a", false, undefined]);
    expect(parseConfig([], {}, [first, none])).toEqual(parseConfig([], {}));
    expect(read(["--mtu=1400"], { AXION_MTU: "2000" }).mtu).toBe(1400);
    expect(read([], { AXION_MTU: "2000", AXION_CONFIG: file("less.yaml", "mtu: 3000\n") }).mtu).toBe(2000);
  });

  test("that are wrong, unknown or of an app that is not there are refused by name", () => {
    for (const bad of ["1279", "9001", "1500.5", "1e3", "", "big", " 1500"]) expect(refused([`--mtu=${bad}`])).toBe(`--mtu must be a whole number from 1280 to 9000, not ${bad}`);
    expect(refused([], { AXION_FIRST_MODE: "c" })).toBe("AXION_FIRST_MODE must be one of a, b, not c");
    expect(refused(["--config", file("bad.yaml", "\nmtu: 5\n")])).toBe(`${join(dir, "bad.yaml")}: mtu (line 2) must be a whole number from 1280 to 9000, not 5`);
    expect(refused(["--first-at", ":53"])).toBe("--first-at must be HOST:PORT, not :53");
    expect(refused(["--first-on=perhaps"])).toContain("--first-on must be true or false");
    expect(refused(["--first-secret", "nowhere"])).toBe("--first-secret: cannot read nowhere: no such file");
    expect(refused(["--first-nothing", "x"])).toContain("unknown argument --first-nothing");
    expect(() => parseConfig(["--mtu", "1500"], {})).toThrow("unknown argument --mtu");
    expect(() => parseConfig(["--config", file("mtu.yaml", "mtu: 1500\n")], {})).toThrow("unknown key mtu (line 1)");
  });

  test("show in --help under their app, and have a name of their own", () => {
    expect(usage(120, [first, none])).toMatch(/\nApp first:\n  --mtu <BYTES> +largest packet \(default: 1500\)\n/);
    const setting = (name: string): Settings => defineSettings({ [name]: { kind: "text", about: "" } });
    expect(() => usage(120, [first, { name: "second", settings: setting("mtu") }])).toThrow("setting mtu is declared by first and by second");
    for (const name of ["api", "help", "keystone-url"]) expect(() => usage(120, [{ name: "second", settings: setting(name) }])).toThrow(`setting ${name} is declared by the core and by second`);
    expect(() => usage(120, [{ name: "second", settings: setting("Big_Name") }])).toThrow("setting Big_Name of second");
  });

  test("apps to be left out are known before anything else is judged", () => {
    for (const [argv, env] of [
      [["--disable-app", "l3,dhcp"], {}], [["--nothing", "x", "--disable-app=l3", "--mtu", "9", "--disable-app", "dhcp"], {}], [[], { AXION_DISABLE_APP: "l3, dhcp" }],
      [["--config", file("left.yaml", "nothing: [\"]\"]\ndisable-app: [l3, dhcp]\nmtu: 1\n")], {}],
    ] as [string[], Record<string, string>][]) expect(appsLeftOut(argv, env)).toEqual(["l3", "dhcp"]);
    for (const argv of [[], ["--config", "nowhere"], ["--disable-app"]]) expect(appsLeftOut(argv, {})).toEqual([]);
  });

  test("lists of names and of ranges are what they say, and refused by flag and form", () => {
    const second = {
      name: "second",
      settings: defineSettings({
        kinds: { kind: { listOf: ["a", "b"] }, about: "which" }, ranges: { kind: { ranges: [1, 100] }, about: "from where to where" },
        named: { kind: { namedRanges: [1, 100] }, about: "by name" }, sizes: { kind: { namedNumbers: [10, 20] }, about: "how large" },
        owned: { kind: { namedNumbers: [-1, 9] }, about: "of what there is", names: (resources) => ["all", ...resources.map((r) => r.name)] },
      }),
      resources: [defineResource(resourceHandle("thing"), { collection: "things", about: "", computed: { list: () => [], get: () => undefined }, notFound: { type: "ThingNotFound", message: (id) => id }, attributes: {}, policy: { get: "" } })],
    };
    const of = (...argv: string[]): SettingValues<typeof second.settings.declared> => SettingsBook.of([second], (parseConfig(argv, {}, [second]) as Config).settings).get(second.settings);
    expect(of("--kinds=b,a", "--ranges=1:5, 7:7", "--named=x:1:5,y,x:8:9", "--sizes=x:10,y:20")).toEqual({
      kinds: ["b", "a"], ranges: [[1, 5], [7, 7]], named: new Map([["x", [[1, 5], [8, 9]]], ["y", []]]), sizes: new Map([["x", 10], ["y", 20]]), owned: new Map(),
    });
    expect(of()).toEqual({ kinds: [], ranges: [], named: new Map(), sizes: new Map(), owned: new Map() });
    expect(of("--owned=thing:-1,all:3").owned).toEqual(new Map([["thing", -1], ["all", 3]]));
    expect(() => of("--owned=bogus:1")).toThrow("--owned must name some of all, thing, not bogus");
    for (const bad of ["--kinds=c", "--ranges=5", "--ranges=0:5", "--ranges=9:5", "--ranges=1:101", "--named=:1:5", "--named=x:1", "--sizes=x", "--sizes=x:9", "--sizes=x:21", "--owned=thing:-2"]) {
      expect(() => of(bad), bad).toThrow(UsageError);
      expect(() => of(bad), bad).toThrow(bad.split("=")[0]!);
    }
  });
});
