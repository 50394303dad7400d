// What a host says of itself, however odd: a name or nothing, and for the rest the value, or a problem with its key and the default.
import { describe, expect, test } from "vitest";
import { readSettings } from "./settings.ts";

const read = (ids: Readonly<Record<string, string>>): ReturnType<typeof readSettings> => readSettings({ "system-id": "hv1", ...ids });
const keys = (ids: Readonly<Record<string, string>>): string[] => read(ids).problems.map((p) => p.key);

describe("where its tunnels end", () => {
  test.each(["192.0.2.1", "10.0.0.255", "fd00::1", "FE80::1"])("%s", (ip) => {
    expect(read({ "axion-encap-ip": ip })).toMatchObject({ settings: { encapIp: ip }, problems: [] });
  });
  test.each(["nonsense", "127.0.0.1", "::1", "10.0.0.256", "10.0.0.1/24", "0.0.0.0", "::", "224.0.0.5", "ff02::1", "255.255.255.255", "fe80::1%eth0", "010.0.0.1", "__proto__"])("%s is refused: it has no tunnels", (ip) => {
    expect(keys({ "axion-encap-ip": ip })).toEqual(["axion-encap-ip"]);
    expect(read({ "axion-encap-ip": ip }).settings!.encapIp).toBe("");
  });
});

test.each(["a b", "a/b", "a|b", "a\nb", "x".repeat(256), "a\u0000b"])("a name that is none, %j: as system-id it is not adopted, as hostname the system-id counts", (name) => {
  expect(readSettings({ "system-id": name })).toMatchObject({ settings: undefined, problems: [{ key: "system-id" }] });
  expect(read({ hostname: name })).toMatchObject({ settings: { id: "hv1", hostname: "hv1" }, problems: [{ key: "hostname" }] });
});

test.each(["__proto__:br-ex", "a b:br-ex", ":br-ex", "physnet", "physnet:", "physnet:br:ex", "a/b:br-ex", `${"x".repeat(256)}:br-ex`])("the mapping %s is refused, others count", (mapping) => {
  const { settings, problems } = read({ "axion-bridge-mappings": `one:br-1,${mapping},constructor:br-2` });
  expect(problems.map((p) => p.key)).toEqual(["axion-bridge-mappings"]);
  expect(Object.entries(settings!.bridgeMappings)).toEqual([["one", "br-1"], ["constructor", "br-2"]]);
});

test.each([["", 1], ["1", 1], ["2", 2], ["3", 2], ["0", 2], ["-1", 2], ["two", 1]] as const)("other_config:vlan-limit=%s: %d tags, as Open vSwitch takes it", (text, tags) => {
  expect(readSettings({ "system-id": "hv1" }, text === "" ? {} : { "vlan-limit": text }).settings!.vlanLimit).toBe(tags);
});
