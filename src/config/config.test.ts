// Every setting from every place it can come from, and every value that is refused. What the process makes of it: process.test.ts.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { UsageError } from "../lib/usage-error.ts";
import { parseConfig, usage, type Config } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "axion-config-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const pem = Object.fromEntries(["cert", "key", "ca"].map((n) => [n, file(`${n}.pem`, `the ${n}`)])) as Record<"cert" | "key" | "ca", string>;
const policy = file("policy.yaml", "");
const secret = file("secret", "geheim\n");
const keystone = { auth: "keystone", "keystone-url": "https://id.example:5000/v3", "keystone-user": "neutron", "keystone-password-file": secret };
const tls = { "tls-cert": pem.cert, "tls-key": pem.key, "tls-ca": pem.ca };

const defaults: Config = {
  dataDir: "./data", store: "level:", keep: { ms: 30 * 86_400_000, bytes: 1024 * 1024 * 1024 }, api: { host: "127.0.0.1", port: 9696 }, ops: { host: "127.0.0.1", port: 9697 }, openflow: { host: "0.0.0.0", port: 6653 },
  ovsdb: { host: "0.0.0.0", port: 6640 }, advertise: undefined, tls: undefined, auth: { kind: "none" }, policyFile: undefined, opsTokenFile: undefined, allowedHosts: [], corsOrigins: [], rates: { project: undefined, unauthenticated: { perSecond: 50, burst: 500 } }, disabledApps: [],
  auditIntervalMs: 60_000, name: hostname(), logLevel: "info", logPretty: false,
};

/** A value that is not the default for each setting, with what it changes. */
const cases: readonly (readonly [settings: Readonly<Record<string, string>>, changed: Partial<Config>])[] = [
  [{ "data-dir": "/var/lib/axion" }, { dataDir: "/var/lib/axion" }],
  [{ store: "memory:" }, { store: "memory:" }],
  [{ store: "etcd://a:1,b" }, { store: "etcd://a:1,b", etcd: {} }],
  [{ store: "etcds://a/clouds", "store-ca": pem.ca, "store-cert": pem.cert, "store-key": pem.key, "store-user": "me", "store-password-file": secret }, { store: "etcds://a/clouds", etcd: { tls: { ca: Buffer.from("the ca"), cert: Buffer.from("the cert"), key: Buffer.from("the key") }, user: { name: "me", password: "geheim" } } }],
  [{ "history-days": "1", "history-mb": "2" }, { keep: { ms: 86_400_000, bytes: 2 * 1024 * 1024 } }],
  [{ "accept-loss": "0" }, { acceptLoss: 0 }],
  [{ api: "127.0.0.2:80" }, { api: { host: "127.0.0.2", port: 80 } }],
  [{ ops: "[::1]:1" }, { ops: { host: "::1", port: 1 } }],
  [{ ops: "[fd00::1]:1", "ops-token-file": secret }, { ops: { host: "fd00::1", port: 1 }, opsTokenFile: secret }],
  [{ ops: "192.0.2.1:1", insecure: "true" }, { ops: { host: "192.0.2.1", port: 1 } }],
  [{ "allowed-hosts": "net.example, Other" }, { allowedHosts: ["net.example", "other"] }],
  [{ openflow: ":6633" }, { openflow: { host: "0.0.0.0", port: 6633 } }],
  [{ ovsdb: "host.example:65535" }, { ovsdb: { host: "host.example", port: 65_535 } }],
  [{ advertise: "192.0.2.10" }, { advertise: "192.0.2.10" }],
  [tls, { tls: { cert: Buffer.from("the cert"), key: Buffer.from("the key"), ca: Buffer.from("the ca") }, tlsFiles: [tls["tls-cert"], tls["tls-key"], tls["tls-ca"]] }],
  [{ auth: "none" }, {}],
  [{ auth: "tokens", tokens: secret, api: ":9696" }, { auth: { kind: "tokens", file: secret }, api: { host: "0.0.0.0", port: 9696 } }],
  [keystone, { auth: { kind: "keystone", url: "https://id.example:5000/v3", user: "neutron", passwordFile: secret, project: "service", domain: "Default" } }],
  [{ ...keystone, "keystone-project": "services", "keystone-domain": "d1" }, { auth: { kind: "keystone", url: "https://id.example:5000/v3", user: "neutron", passwordFile: secret, project: "services", domain: "d1" } }],
  [{ api: "0.0.0.0:9696", insecure: "true" }, { api: { host: "0.0.0.0", port: 9696 } }],
  [{ "audit-interval": "5" }, { auditIntervalMs: 5000 }],
  [{ policy: policy }, { policyFile: policy }],
  [{ "cors-origins": "https://net.example,http://[::1]:8080" }, { corsOrigins: ["https://net.example", "http://[::1]:8080"] }],
  [{ "disable-app": "dhcp" }, { disabledApps: ["dhcp"] }],
  [{ "rate-limit": "10", "rate-limit-unauthenticated": "0" }, { rates: { project: { perSecond: 10, burst: 20 }, unauthenticated: undefined } }],
  [{ "rate-limit": "0.5:7" }, { rates: { project: { perSecond: 0.5, burst: 7 }, unauthenticated: { perSecond: 50, burst: 500 } } }],
  [{ "disable-app": "dhcp, l3,dhcp" }, { disabledApps: ["dhcp", "l3"] }],
  [{ name: "controller-1.example" }, { name: "controller-1.example" }],
  [{ "log-level": "debug" }, { logLevel: "debug" }],
  [{ "log-pretty": "true" }, { logPretty: true }],
  [{ shadow: "true" }, { shadow: true }],
];

const variable = (name: string): string => `AXION_${name.toUpperCase().replaceAll("-", "_")}`;
const flagNames = [...usage().matchAll(/^ {2}--([a-z-]+)/gm)].map((m) => m[1]!);

describe("settings", () => {
  test("without any there are the defaults, and an environment of others does not matter", () => {
    expect(parseConfig([], { PATH: "/bin", AXION_NOTHING: "x" })).toEqual(defaults);
  });

  test("all of them are tried here", () => {
    expect([...new Set([...cases.flatMap(([s]) => Object.keys(s)), "config"])].sort()).toEqual([...flagNames].sort());
  });

  test.each(cases)("%j as flags, as --flag=value, as variables, in a file", (settings, changed) => {
    const want = { ...defaults, ...changed };
    const entries = Object.entries(settings);
    const isFlag = (name: string): boolean => name === "insecure" || name === "log-pretty";
    expect(parseConfig(entries.flatMap(([n, v]) => (isFlag(n) ? [`--${n}`] : [`--${n}`, v])), {})).toEqual(want);
    expect(parseConfig(entries.map(([n, v]) => `--${n}=${v}`), {})).toEqual(want);
    expect(parseConfig([], Object.fromEntries(entries.map(([n, v]) => [variable(n), v])))).toEqual(want);
    const path = file("settings.json", JSON.stringify(settings));
    expect(parseConfig(["--config", path], {})).toEqual(want);
    expect(parseConfig([], { AXION_CONFIG: path })).toEqual(want);
    const yaml = file("settings.yaml", `# settings\n${entries.map(([n, v]) => `${n}: ${v.includes(": ") || /[:[#,]/.test(v) ? JSON.stringify(v) : v}\n`).join("")}`);
    expect(parseConfig(["--config", yaml], {})).toEqual(want);
  });

  test("a flag goes before a variable, a variable before the file, the last of two flags wins", () => {
    const path = file("order.json", JSON.stringify({ "log-level": "fatal", "audit-interval": 7, "log-pretty": true }));
    const level = (argv: string[], env: Record<string, string> = {}): string => (parseConfig(["--config", path, ...argv], env) as Config).logLevel;
    expect([level([]), level([], { AXION_LOG_LEVEL: "error" }), level(["--log-level", "warn"], { AXION_LOG_LEVEL: "error" }), level(["--log-level", "warn", "--log-level", "trace"])]).toEqual(["fatal", "error", "warn", "trace"]);
    expect(parseConfig(["--config", path], {}), "numbers and booleans of JSON are as good as text").toMatchObject({ auditIntervalMs: 7000, logPretty: true });
    expect(parseConfig(["--config", path, "--log-pretty=false"], {})).toMatchObject({ logPretty: false });
  });

  test("a list: flags that repeat, commas, a list of the file", () => {
    const disabled = (argv: string[]): readonly string[] => (parseConfig(argv, {}) as Config).disabledApps;
    expect(disabled(["--disable-app", "l3", "--disable-app=dhcp,x", "--disable-app", "l3"])).toEqual(["l3", "dhcp", "x"]);
    expect(disabled(["--config", file("list.yaml", "disable-app: [l3, dhcp]\n")])).toEqual(["l3", "dhcp"]);
    expect(disabled(["--config", file("list.json", '{"disable-app": ["l3"]}'), "--disable-app", "dhcp"]), "one place alone counts").toEqual(["dhcp"]);
  });

  test("YAML: text is taken as it is written, comments alone are no settings, a name without an ending is looked into", () => {
    expect(parseConfig(["--config", file("plain.yml", "name: 007\nlog-pretty: true\naudit-interval: 7\n")], {})).toMatchObject({ name: "007", logPretty: true, auditIntervalMs: 7000 });
    expect(parseConfig(["--config", file("empty.yaml", "# nothing\n")], {})).toEqual(defaults);
    expect(parseConfig(["--config", file("json-in-conf", '{"name": "a"}')], {})).toMatchObject({ name: "a" });
    expect(parseConfig(["--config", file("yaml-in-conf", "name: b\n")], {})).toMatchObject({ name: "b" });
  });

  test("--version and -V ask for the version", () => {
    for (const argv of [["--version"], ["-V"], ["--store", "memory:", "-V"]]) expect(parseConfig(argv, {})).toBe("version");
  });

  test("--help and -h ask for the list of flags, wherever they stand", () => {
    for (const argv of [["--help"], ["-h"], ["--store", "memory:", "--help"]]) expect(parseConfig(argv, {})).toBe("help");
    expect(usage()).toContain("Usage: npm start -- [flags]");
  });
});

describe("a UsageError in one line names where the bad value stands", () => {
  const said = (argv: readonly string[], env: Record<string, string> = {}): string => {
    try {
      parseConfig(argv, env);
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect((error as UsageError).code).toBe("USAGE");
      expect((error as UsageError).message).not.toContain("\n");
      return (error as UsageError).message;
    }
    throw new Error(`accepted: ${argv.join(" ")}`);
  };

  const bad: readonly (readonly [name: string, value: string, part: string])[] = [
    ...["api", "ops", "openflow", "ovsdb"].flatMap((n) => ["here", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "127.0.0.1:x", "127.0.0.1:-1", ""].map((v) => [n, v, "must be HOST:PORT"] as const)),
    ["api", "192.0.2.1:9696", "give --insecure if that is meant"],
    ["ops", "192.0.2.1:9697", "give --ops-token-file, or --insecure if that is meant"],
    ["ops-token-file", join(dir, "nowhere"), "cannot read"],
    ...["", ",", "net.example:80", "*", "https://net.example", "[::1]"].map((v) => ["allowed-hosts", v, "must be a host name"] as const),
    ["auth", "keystone", "keystone needs --keystone-url"],
    ["auth", "tokens", "tokens needs --tokens"],
    ["tokens", secret, "has no meaning with --auth none"],
    ["auth", "basic", "must be one of none"],
    ...["etcd:", "etcd://", "etcd://a,", "etcd://a:0", "etcd://a:65536", "etcd://a:x", "etcd://:2379", "etcds://a b", "etcd://a/b c", "etcd://a//", "etcd://a/-"].map((v) => ["store", v, "etcd://HOST:2379,HOST:2379 is expected"] as const),
    ["store", "etcd://user:secret@a", "--store-user and --store-password-file say who"],
    ["store-ca", secret, "has no meaning with --store level:"],
    ["store-user", "me", "has no meaning with --store level:"],
    ...["nothing:", "foo", "level", ""].map((v) => ["store", v, "must be level:, memory: or etcd://HOST:2379"] as const),
    ["insecure", "maybe", "must be true or false"],
    ["log-pretty", "yes", "must be true or false"],
    ["log-level", "loud", "must be one of fatal, error"],
    ...["0", "-1", "86401", "soon", "NaN", ""].map((v) => ["audit-interval", v, "must be 1 to 86400 seconds"] as const),
    ["api", "127.evil.example:9696", "give --insecure if that is meant"],
    ["data-dir", "", "is empty"],
    ...["", "192.0.2.10:6653", "a b", "[::1]", "tcp:host"].map((v) => ["advertise", v, "must be an address or a host name, without a port"] as const),
    ...["", ",", "*", "net.example", "https://net.example/", "https://NET.example", "https://net.example:443", "ftp://net.example", "null", "https://a.example,,"].map((v) => ["cors-origins", v, "must be an origin as browsers send it"] as const),
    ...["rate-limit", "rate-limit-unauthenticated"].flatMap((n) => ["", "-1", "many", "1e3", "0:5", "5:0", "5:", ":5", "0.0", "5:1:1"].map((v) => [n, v, "must be requests a second"] as const)),
    ...["", ",", "a,,b", "a b", "../x", "__proto__"].map((v) => ["disable-app", v, "must be a name or names with commas between"] as const),
    ...["", "a b", "-", "x".repeat(65), "a\nb"].map((v) => ["name", v, "must be 1 to 64 letters, digits"] as const),
    ["policy", join(dir, "nowhere.yaml"), "cannot read"],
    ["policy", dir, "it is a folder"],
    ["policy", file("large.yaml", "#".repeat((1 << 20) + 1)), "is larger than 1048576 bytes"],
    ["config", join(dir, "nowhere.json"), "cannot read"],
    ["config", dir, "cannot read"],
  ];
  test.each(bad)("--%s %j: %s", (name, value, part) => {
    const asFlag = said([`--${name}=${value}`]);
    expect(asFlag).toContain(`--${name}`);
    expect(asFlag).toContain(part);
    const asVariable = said([], { [variable(name)]: value });
    expect(asVariable).toContain(variable(name));
    expect(asVariable).toContain(part);
    if (name === "config") return;
    const inFile = said(["--config", file("bad.json", JSON.stringify({ [name]: value }))]);
    expect(inFile).toContain(`bad.json: ${name} (line 1)`);
    expect(inFile).toContain(part);
  });

  test.each(Object.keys(tls))("--%s that cannot be read, or the only one of the three", (name) => {
    const broken = { ...tls, [name]: join(dir, "nowhere.pem") };
    expect(said(Object.entries(broken).map(([n, v]) => `--${n}=${v}`))).toMatch(new RegExp(`^--${name}: cannot read .*nowhere.pem: no such file$`));
    expect(said([`--${name}`, pem.cert])).toMatch(/TLS needs --tls-cert, --tls-key and --tls-ca together; --tls-\w+ is missing/);
    const two = Object.entries(tls).filter(([n]) => n !== name).map(([n, v]) => `--${n}=${v}`);
    expect(said(two)).toContain(`--${name} is missing`);
  });

  test("flags that are not there, and those without their value", () => {
    for (const arg of ["--nothing", "-x", "data", "--"]) expect(said([arg])).toContain(`unknown argument ${arg}`);
    for (const name of flagNames.filter((n) => !["insecure", "log-pretty", "shadow"].includes(n))) expect(said([`--${name}`])).toBe(`--${name} needs a value`);
  });

  test("a flag that was nearly right is named", () => {
    expect(said(["--stor", "memory:"])).toBe("unknown argument --stor; was --store meant? --help lists the flags");
  });

  test.each([
    ["yaml", "name: a\n\napi: here\n", "api (line 3) must be HOST:PORT"],
    ["json", '{\n  "name": "a",\n  "api": "here"\n}\n', "api (line 3) must be HOST:PORT"],
    ["yaml", "name: a\nnothing: 1\n", "unknown key nothing (line 2)"],
    ["yaml", "name: a\nname: b\n", "is not YAML: Map keys must be unique (line 2)"],
    ["json", '{"name": "a",\n"name": "b"}', "is not JSON: Map keys must be unique (line 2)"],
    ["yaml", "name: [a\n", "is not YAML"],
    ["yaml", "- name\n", "must hold a YAML mapping"],
    ["yaml", "name\n", "must hold a YAML mapping"],
    ["yaml", "a: 1\n---\nb: 1\n", "is not YAML"],
    ["yaml", "name:\n", "name must be a string, number or boolean (line 1)"],
    ["yaml", "name: {a: 1}\n", "name must be a string, number or boolean (line 1)"],
    ["yaml", "a: &x 1\nname: *x\n", "unknown key a (line 1)"],
    ["yaml", "name: *x\n", "name must be a string, number or boolean (line 1)"],
    ["yaml", "disable-app: [[l3]]\n", "disable-app must be a string, number or boolean, or a list of them (line 1)"],
    ["yaml", "log-pretty: yes\n", "log-pretty (line 1) must be true or false, not yes"],
  ])("a %s file with %j: %s", (ending, text, part) => {
    const path = file(`wrong.${ending}`, text);
    expect(said(["--config", path])).toContain(path);
    expect(said(["--config", path])).toContain(part);
  });

  test.each([
    ["{", "is not JSON"],
    ["[]", "must hold a JSON object"],
    ["null", "must hold a JSON object"],
    ['{"nothing":1}', "unknown key nothing"],
    ['{"config":"x"}', "unknown key config"],
    ['{"store":null}', "store must be a string, number or boolean"],
    ['{"store":["level:"]}', "store must be a string, number or boolean"],
  ])("a file with %s", (text, part) => {
    const message = said(["--config", file("file.json", text)]);
    expect(message).toContain("file.json");
    expect(message).toContain(part);
  });
});

// A known gap: names that every JavaScript object has are taken for settings.
test("a setting's name is not looked for among what every object has", () => {
  expect(() => parseConfig([], { AXION_CONFIG: file("proto.json", '{"toString":"x"}') })).toThrow("unknown key toString");
  expect(() => parseConfig(["--toString", "x"], {})).toThrow("unknown argument --toString");
});
