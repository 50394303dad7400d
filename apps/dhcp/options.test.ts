import { describe, expect, it } from "vitest";
import { ApiError, type ApiContext, type Caller, type Tx } from "#app";
import { portTable } from "../l2/model.ts";
import { Model } from "../../src/model/model.ts";
import { View } from "../../src/model/view.ts";
import { openStore } from "../../src/store/open.ts";
import { Cloud } from "./dhcp.fixture.ts";
import { Harness } from "../../test/support/harness.ts";
import { extraDhcpOpts, extraOptions, portExtension, problems } from "./options.ts";
import { portDhcpOptsTable } from "./model.ts";

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
    ["a name that nobody knows, and values of another type", [opt("no-such-option", "x"), opt("mtu", "large"), opt("server-ip-address", "2015::badd")], [opt("no-such-option", "x"), opt("mtu", "large"), opt("server-ip-address", "2015::badd")]],
    ["null", null, []],
    ["nothing", [], []],
  ])("%s is stored", (_, value, stored) => {
    expect(check(value)).toEqual(stored);
  });

  it.each<[string, unknown, number]>([
    ["no opt_value", [{ opt_name: "mtu" }], 400],
    ["no opt_name", [{ opt_value: "1400" }], 400],
    ["an unknown key", [{ ...opt("mtu", "1400"), colour: 1 }], 400],
    ["a family that is none", [opt("mtu", "1400", 5)], 400],
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
  const setUp = async () => {
    const model = await Model.open(await openStore("memory:", { dataDir: "" }), [portDhcpOptsTable]);
    const port = new Cloud().view.get(portTable, "vm")!;
    const ctx = {} as ApiContext;
    const run = (fn: (tx: Tx) => void) => model.transact({ requestId: "test", call: "test" }, fn);
    const values = (value: unknown) => ({ extra_dhcp_opts: check(value) });
    return {
      shown: (): unknown => portExtension.present!(new View(model.view), port, {} as Caller).extra_dhcp_opts,
      create: (value: unknown) => run((tx) => portExtension.create!(tx, port, values(value), ctx)),
      update: (value: unknown) => run((tx) => portExtension.update!(tx, port, values(value), ctx, port)),
      rename: () => run((tx) => portExtension.update!(tx, port, { name: "x" }, ctx, port)),
      remove: () => run((tx) => portExtension.remove!(tx, port, ctx)),
      row: () => model.view.get(portDhcpOptsTable, "vm"),
    };
  };

  it("merge", async () => {
    const p = await setUp();
    expect(p.shown()).toEqual([]);
    await p.create([opt("mtu", "1400"), opt("domain-name", "a"), opt("tftp-server", null)]);
    expect(p.shown()).toEqual([opt("mtu", "1400"), opt("domain-name", "a")]);
    await p.update([opt("mtu", "1300"), opt("domain-name", null), opt("router", "10.0.0.9"), opt("hostname", null)]);
    expect(p.shown()).toEqual([opt("mtu", "1300"), opt("router", "10.0.0.9")]);
    for (const change of [() => p.update([]), () => p.update(null), p.rename]) {
      await change();
      expect(p.shown()).toEqual([opt("mtu", "1300"), opt("router", "10.0.0.9")]);
    }
    await p.update([opt("mtu", null), opt("router", null)]);
    expect(p.row()).toBeUndefined();
  });

  it("go with the port", async () => {
    const p = await setUp();
    await p.create(null);
    expect(p.row()).toBeUndefined();
    await p.remove();
    await p.update([opt("mtu", "1400")]);
    expect(p.row()).toBeDefined();
    await p.remove();
    expect(p.row()).toBeUndefined();
  });
});

describe("options that no client can be sent", () => {
  it("are told of, by their port", async () => {
    const h = await Harness.make();
    try {
      const network_id = (await h.create("network", {})).id;
      const { id } = await h.create("port", { network_id, name: "odd", extra_dhcp_opts: [opt("no-such-option", "x"), opt("server-ip-address", "2015::badd"), opt("mtu", "1400"), opt("whatever", "y", 6)] });
      await h.settled();
      expect(problems(h.view)).toMatchObject([{ kind: "option_not_sent", resources: [{ type: "port", id }], text: "port odd has DHCP options that are not sent: no-such-option x, server-ip-address 2015::badd" }]);
      expect([...extraOptions(h.view.get(portDhcpOptsTable, id)!.opts, false).keys()]).toEqual([26]);
      await h.call("PUT", `/v2.0/ports/${id}`, { port: { extra_dhcp_opts: [opt("no-such-option", null), opt("server-ip-address", "10.0.0.7")] } });
      await h.settled();
      expect(problems(h.view)).toEqual([]);
    } finally {
      await h.close();
    }
  });
});
