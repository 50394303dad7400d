import { describe, expect, it } from "vitest";
import { ApiError, type ApiContext, type Tx } from "#app";
import { portTable } from "../l2/model.ts";
import { Layer } from "../../src/model/rows.ts";
import { Cloud } from "./dhcp.fixture.ts";
import { extraDhcpOpts, portExtension } from "./options.ts";
import { portDhcpOptsTable } from "./model.ts";

const fresh = (): Cloud<Layer> => new Cloud(new Layer());

const check = (value: unknown): unknown => extraDhcpOpts(value, "extra_dhcp_opts");
const opt = (opt_name: unknown, opt_value: unknown, ip_version: unknown = 4): Record<string, unknown> => ({ opt_name, opt_value, ip_version });

describe("extra_dhcp_opts as given", () => {
  it.each<[string, unknown, unknown]>([
    ["a name", [{ opt_name: "bootfile-name", opt_value: "pxelinux.0" }], [opt("bootfile-name", "pxelinux.0")]],
    ["a number", [opt("150", "10.0.0.7", "4")], [opt("150", "10.0.0.7")]],
    ["the server's address", [opt("server-ip-address", "10.0.0.7")], [opt("server-ip-address", "10.0.0.7")]],
    ["a tag", [opt("tag:!ipxe,67", "a"), opt("tag:ipxe,67", "b")], [opt("tag:!ipxe,67", "a"), opt("tag:ipxe,67", "b")]],
    ["null to delete", [opt("mtu", null)], [opt("mtu", null)]],
    ["an empty router", [opt("router", "")], [opt("router", "")]],
    ["both families", [opt("dns-server", "10.0.0.1"), opt("dns-server", "fd00::1", 6)], [opt("dns-server", "10.0.0.1"), opt("dns-server", "fd00::1", 6)]],
    ["null", null, []],
    ["nothing", [], []],
  ])("%s is stored", (_, value, stored) => {
    expect(check(value)).toEqual(stored);
  });

  it.each<[string, unknown, number]>([
    ["an unknown name", [opt("no-such-option", "x")], 400],
    ["an unknown tag", [opt("tag:other,67", "x")], 400],
    ["an option of the protocol", [opt("message-type", "5")], 400],
    ["no opt_value", [{ opt_name: "mtu" }], 400],
    ["no opt_name", [{ opt_value: "1400" }], 400],
    ["an unknown key", [{ ...opt("mtu", "1400"), colour: 1 }], 400],
    ["a family that is none", [opt("mtu", "1400", 5)], 400],
    ["a value of another type", [opt("mtu", "large")], 400],
    ["a blank value", [opt("bootfile-name", "")], 400],
    ["a number as value", [opt("mtu", 1400)], 400],
    ["no list", { opt_name: "mtu", opt_value: "1400" }, 400],
    ["an option twice", [opt("mtu", "1400"), opt("mtu", "1500")], 409],
  ])("%s is refused", (_, value, status) => {
    expect(() => check(value)).toThrow(ApiError);
    expect(() => check(value)).toThrow(expect.objectContaining({ status }) as Error);
  });
});

describe("the port's options", () => {
  const setUp = () => {
    const { view } = fresh();
    const tx = { get: view.get.bind(view), put: view.put.bind(view), delete: view.remove.bind(view) } as unknown as Tx;
    const port = view.get(portTable, "vm")!;
    const ctx = {} as ApiContext;
    const shown = (): unknown => portExtension.present!(view, port, {} as never).extra_dhcp_opts;
    const values = (value: unknown) => ({ extra_dhcp_opts: check(value) });
    return {
      shown,
      create: (value: unknown) => portExtension.create!(tx, port, values(value), ctx),
      update: (value: unknown) => portExtension.update!(tx, port, values(value), ctx, port),
      rename: () => portExtension.update!(tx, port, { name: "x" }, ctx, port),
      remove: () => portExtension.remove!(tx, port, ctx),
      row: () => view.get(portDhcpOptsTable, "vm"),
    };
  };

  it("merge", () => {
    const p = setUp();
    expect(p.shown()).toEqual([]);
    p.create([opt("mtu", "1400"), opt("domain-name", "a"), opt("tftp-server", null)]);
    expect(p.shown()).toEqual([opt("mtu", "1400"), opt("domain-name", "a")]);
    p.update([opt("mtu", "1300"), opt("domain-name", null), opt("router", "10.0.0.9"), opt("hostname", null)]);
    expect(p.shown()).toEqual([opt("mtu", "1300"), opt("router", "10.0.0.9")]);
    for (const change of [() => p.update([]), () => p.update(null), p.rename]) {
      change();
      expect(p.shown()).toEqual([opt("mtu", "1300"), opt("router", "10.0.0.9")]);
    }
    p.update([opt("mtu", null), opt("router", null)]);
    expect(p.row()).toBeUndefined();
  });

  it("go with the port", () => {
    const p = setUp();
    p.create(null);
    expect(p.row()).toBeUndefined();
    p.remove();
    p.update([opt("mtu", "1400")]);
    p.remove();
    expect(p.row()).toBeUndefined();
  });
});
