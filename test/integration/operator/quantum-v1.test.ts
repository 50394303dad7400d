// Quantum v1 on real switches: a client as there were makes a network and plugs two interfaces by ids of its own, in JSON and in XML.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud } from "../../support/cloud.ts";
import { V1Client, type Format, type Send } from "../../support/api/quantum-v1.ts";

describe.skipIf(Lab.missing().length > 0)("Quantum v1 on real switches", () => {
  let cloud: Cloud;
  let number = 0;

  beforeAll(async () => {
    cloud = await Cloud.create({ hypervisors: 2 });
  }, 60_000);
  afterAll(async () => cloud?.destroy());

  const send: Send = async (method, path, body, headers) => {
    const answer = await cloud.controller.api(method, path, body, headers);
    const text = answer.body === undefined ? "" : typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body);
    return { status: answer.status, text, type: answer.headers["content-type"] ?? "" };
  };

  interface Plugged {
    readonly port: string;
    readonly vif: string;
    readonly vm: Vm;
    readonly ip: string;
  }
  /** A port, an attachment and its interface on a host, as the compute service of those days did it: with a MAC of its own choice. */
  async function plug(c: V1Client, network: string, host: number, early: boolean): Promise<Plugged> {
    number++;
    const vif = `c0ffee00-0000-4000-8000-${String(number).padStart(12, "0")}`;
    const ip = `192.168.7.${10 + number}`;
    const { mtu } = await cloud.show("network", network);
    const interfaceOf = (): Promise<Vm> => cloud.lab.addVm({ name: `v1-${number}`, hypervisor: cloud.hv(host), portId: vif, mac: `02:00:00:00:07:${String(number).padStart(2, "0")}`, mtu: mtu as number });
    const before = early ? await interfaceOf() : undefined;
    const port = await c.port(network, "ACTIVE");
    expect((await c.attach(network, port, vif)).status).toBe(204);
    const vm = before ?? await interfaceOf();
    await vm.setAddress(`${ip}/24`);
    await cloud.active(port);
    return { port, vif, vm, ip };
  }
  const mark = async (p: Plugged): Promise<boolean> => (await p.vm.hypervisor.vsctl("--bare", "--columns=external_ids", "list", "Interface", p.vm.nic.tap)).includes("axion-installed");

  test.each<["v1.0" | "v1.1", Format]>([["v1.1", "json"], ["v1.0", "xml"]])("%s in %s: two hosts reach each other, v2.0 has the same, unplugging cuts", async (version, format) => {
    const c = new V1Client(send, version, `tenant-${format}`, format);
    const network = await c.network(`net ${format}`);
    const a = await plug(c, network, 1, false);
    // This one's interface is there before its port.
    const b = await plug(c, network, 2, true);
    await until("the other host", () => a.vm.reaches(b.ip));
    expect(await a.vm.ping(b.ip, { count: 20, intervalMs: 20 })).toMatchObject({ received: 20 });
    expect(await b.vm.ping(a.ip, { count: 20, intervalMs: 20 })).toMatchObject({ received: 20 });

    const shown = (await c.ok("GET", `/networks/${network}/detail`)).network;
    const up = version === "v1.1" ? { "op-status": "UP" } : {};
    expect(shown).toMatchObject({ id: network, name: `net ${format}`, ...up });
    expect(shown.ports).toHaveLength(2);
    expect(shown.ports).toEqual(expect.arrayContaining([a, b].map(({ port, vif }) => ({ id: port, state: "ACTIVE", ...up, attachment: { id: vif } }))));
    for (const [p, host] of [[a, "hv1"], [b, "hv2"]] as const) {
      expect(await cloud.show("port", p.port)).toMatchObject({ network_id: network, project_id: `tenant-${format}`, status: "ACTIVE", "binding:host_id": host, "binding:vif_type": "ovs", "quantum:attachment": p.vif, fixed_ips: [] });
      await until("the mark of an interface in use", () => mark(p));
    }
    const problems = async (): Promise<string[]> => (await cloud.controller.ops<{ kind: string; text: string }[]>("GET", "/problems")).body.filter((p) => !["plain_tcp", "stale_flows"].includes(p.kind)).map((p) => p.text);
    expect(await problems()).toEqual([]);

    // Down by the owner's will, and up.
    const state = (value: string): Promise<unknown> => c.ok("PUT", `/networks/${network}/ports/${b.port}`, { port: { state: value } });
    const cut = (): Promise<unknown> => until("silence", async () => !(await a.vm.reaches(b.ip, { timeoutMs: 300 })));
    await state("DOWN");
    await cut();
    expect((await cloud.show("port", b.port)).status).toBe("DOWN");
    await state("ACTIVE");
    await until("the other host again", () => a.vm.reaches(b.ip));
    await cloud.active(b.port);

    // It moves with its interface; a restart of the controller is nothing to it.
    await b.vm.moveTo(cloud.hv(1));
    await until("the port on the first host", async () => {
      const port = await cloud.show("port", b.port);
      return port["binding:host_id"] === "hv1" && port.status === "ACTIVE";
    });
    await until("the moved interface", () => a.vm.reaches(b.ip));
    const running = a.vm.pingStart(b.ip, { intervalMs: 20 });
    await until("answers", () => running.received > 10);
    await cloud.controller.restart();
    await cloud.synced();
    const stats = await running.stop();
    expect(stats.sent - stats.received).toBe(0);

    // Beside another port of the network, so that nothing else of the host's database changes.
    await until("the mark", () => mark(b));
    await state("DOWN");
    await until("the mark's end", async () => !(await mark(b)));
    await state("ACTIVE");
    await until("the mark again", () => mark(b));

    expect((await c.detach(network, b.port)).status).toBe(204);
    await cut();
    await until("the port's status", async () => (await cloud.show("port", b.port)).status === "DOWN");
    await until("the mark's end", async () => !(await mark(b)));
    expect((await c.ok("GET", `/networks/${network}/ports/${b.port}/attachment`)).attachment).toEqual({});
    // The same interface into another port of the network.
    const again = await c.port(network, "ACTIVE");
    expect((await c.attach(network, again, b.vif)).status).toBe(204);
    await until("the other port", () => a.vm.reaches(b.ip));

    // Torn down as that service did: found by the attachment, unplugged, deleted.
    for (const { vif } of [a, b]) {
      const [{ id }] = (await c.ok("GET", `/networks/${network}/ports?attachment=${vif}`)).ports as [{ id: string }];
      await c.detach(network, id);
      expect((await c.call("DELETE", `/networks/${network}/ports/${id}`)).status).toBe(204);
    }
    expect((await c.call("DELETE", `/networks/${network}`)).status).toBe(204);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  }, 120_000);
});
