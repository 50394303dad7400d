// The id by which an interface is plugged into a port, as v2.0 has it, and what is left without the app.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Harness } from "../../test/support/harness.ts";
import { V1Client } from "../../test/support/api/quantum-v1.ts";

let h: Harness;
beforeAll(async () => {
  h = await Harness.make();
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
});
afterAll(() => h.close());

describe("the attachment as v2.0 has it", () => {
  test("named, replaced, let go, and gone with its port", async () => {
    const net = (await h.create("network", { name: "n" })).id;
    const [a, b] = [(await h.create("port", { network_id: net, "quantum:attachment": "x-1" })).id, (await h.create("port", { network_id: net })).id];
    const put = (id: string, value: unknown): ReturnType<Harness["call"]> => h.call("PUT", `/v2.0/ports/${id}`, { port: { "quantum:attachment": value } });
    expect(await put(b, "x-1")).toMatchObject({ status: 409, body: { NeutronError: { type: "AlreadyAttached" } } });
    // No text that can be a key.
    expect(await put(b, "\ud800")).toMatchObject({ status: 400 });
    expect((await put(b, "bad\nid")).status).toBe(400);
    expect((await put(a, "x-2")).body.port["quantum:attachment"]).toBe("x-2");
    expect((await put(b, "x-1")).status).toBe(200);
    expect((await put(b, null)).body.port["quantum:attachment"]).toBe("");
    expect((await h.call("DELETE", `/v2.0/ports/${a}`)).status).toBe(204);
    expect((await put(b, "x-2")).status).toBe(200);
  });
});

describe("many at once", () => {
  const client = (): V1Client => new V1Client(async (method, url, body, headers) => {
    const answer = await h.api.inject({ method: method as "GET", url, headers, ...(body === undefined ? {} : { payload: body }) });
    return { status: answer.statusCode, text: answer.payload, type: String(answer.headers["content-type"]) };
  }, "v1.1", "racers", "json");

  test("one id for twenty ports, twenty ids for one port: one has it", async () => {
    const c = client();
    const net = await c.network("n");
    const ports = await Promise.all(Array.from({ length: 20 }, () => c.port(net)));
    const statuses = async (calls: Promise<{ readonly status: number }>[]): Promise<number[]> => (await Promise.all(calls)).map((a) => a.status).sort();
    const one = [204, ...Array.from({ length: 19 }, () => 409)];
    expect(await statuses(ports.map((port) => c.attach(net, port, "race")))).toEqual(one);
    const [{ id: holder }] = (await c.ok("GET", `/networks/${net}/ports?attachment=race`)).ports as [{ id: string }];
    const free = ports.find((id) => id !== holder)!;
    expect(await statuses(ports.map((port) => c.attach(net, free, `race-${port}`)))).toEqual(one);
    expect((await c.ok("GET", `/networks/${net}/ports?has-attachment=true`)).ports).toHaveLength(2);
  });

  test("a network that goes while ports come, go and are attached: it is there with them, or nothing is", async () => {
    const c = client();
    for (let i = 0; i < 10; i++) {
      const net = await c.network("n");
      const [a, b] = [await c.port(net), await c.port(net)];
      const [gone] = await Promise.all([c.call("DELETE", `/networks/${net}`), c.call("POST", `/networks/${net}/ports`), c.call("DELETE", `/networks/${net}/ports/${a}`), c.attach(net, b, `goes-${i}`), c.call("POST", `/networks/${net}/ports`)]);
      const left = (await h.call("GET", `/v2.0/ports?network_id=${net}`)).body.ports as { "quantum:attachment": string }[];
      const there = (await h.call("GET", `/v2.0/networks/${net}`)).status;
      if (gone.status === 204) expect([there, left]).toEqual([404, []]);
      else expect([gone.status, there]).toEqual([409, 200]);
    }
  });
});

test("a change that is none of its place leaves its status as it is", async () => {
  const net = (await h.create("network", { name: "n" })).id;
  const port = (await h.create("port", { network_id: net, "quantum:attachment": "y-1" })).id;
  await h.plug("hv1", "y-1", 9);
  const status = async (): Promise<string> => (await h.call("GET", `/v2.0/ports/${port}`)).body.port.status;
  await expect.poll(status).toBe("BUILD");
  h.confirm("hv1");
  await expect.poll(status).toBe("ACTIVE");
  for (const values of [{ name: "renamed" }, { admin_state_up: true }, { allowed_address_pairs: [{ ip_address: "10.0.0.9" }] }]) {
    const { body } = await h.call("PUT", `/v2.0/ports/${port}`, { port: values });
    expect([body.port.status, body.port["binding:host_id"]]).toEqual(["ACTIVE", "hv1"]);
  }
  await h.call("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: false } });
  await expect.poll(status).toBe("DOWN");
});

test("left out, nothing of it is left: no path, no attribute, no flow; back, all is as it was", async () => {
  let mine = await Harness.make();
  try {
    await mine.addChassis("hv1");
    const net = (await mine.create("network", { name: "n" })).id;
    const port = (await mine.create("port", { network_id: net, "quantum:attachment": "iface" })).id;
    await mine.plug("hv1", "iface", 3);
    await mine.settled();
    const flows = (): number => [...mine.engine.flowsOf("hv1")].length;
    const plugged = flows();
    mine = await mine.restart(["quantum-v1"]);
    await mine.settled();
    expect(flows()).toBeLessThan(plugged);
    expect((await mine.call("GET", `/v1.1/tenants/t/networks`)).status).toBe(404);
    expect((await mine.call("GET", "/")).body.versions.map((v: { id: string }) => v.id)).toEqual(["v2.0"]);
    expect((await mine.call("GET", `/v2.0/ports/${port}`)).body.port).not.toHaveProperty("quantum:attachment");
    mine = await mine.restart([]);
    await mine.settled();
    expect(flows()).toBe(plugged);
    expect((await mine.call("GET", `/v2.0/ports/${port}`)).body.port["quantum:attachment"]).toBe("iface");
  } finally {
    await mine.close();
  }
});
