// `axion statistics` and `axion logs`: what they ask, and what they print of the answer.
import { expect, test } from "vitest";
import { listener } from "./ops.fixture.ts";

const ops = listener();

test("statistics: a line for each counter", async () => {
  const of = { complete: true, since: "2026-01-31T12:00:00Z", looked_at: "2026-01-31T12:01:00Z" };
  ops.answer = [
    { type: "port", id: "p1", name: "web", project: "p", received: { packets: 5, bytes: 500 }, sent: { packets: null, bytes: null }, ...of, complete: false },
    { type: "router", id: "r1", name: "", project: "p", routed: { packets: 7, bytes: 700 }, ...of },
  ];
  expect((await ops.run("statistics", "--project", "p", "--type", "port")).out).toMatchInlineSnapshot(`
    "TYPE    ID  NAME  PROJECT  COUNTER   PACKETS  BYTES  COMPLETE  LOOKED AT
    port    p1  web   p        received  5        500    false     2026-01-31T12:01:00Z
    port    p1  web   p        sent      -        -      false     2026-01-31T12:01:00Z
    router  r1  -     p        routed    7        700    true      2026-01-31T12:01:00Z
    "
  `);
  expect(ops.asked.at(-1)).toBe("/statistics?project=p&type=port");
  ops.answer = [];
  expect(await ops.run("statistics")).toEqual({ code: 0, out: "no statistics\n", err: "" });
  expect((await ops.run("statistics", "--type", "cloud")).code).toBe(2);
});

test("logs: a line for each entry", async () => {
  const packet = { at: "2026-01-31T12:00:00Z", event: "ACCEPT", direction: "ingress", port_id: "p1", port_name: "web", switch: "hv1", ethertype: "IPv4", protocol: 6, source: "10.0.0.9", destination: "10.0.0.5", source_port: 4000, destination_port: 80, icmp_type: null, icmp_code: null, rules: ["r1"] };
  ops.answer = [
    { log: "l1", log_name: "mine", project: "p", ...packet },
    { log: "l2", log_name: "", project: "p", ...packet, event: "DROP", port_name: "", protocol: 58, source: "fd00::9", destination: "fd00::5", source_port: null, destination_port: null, icmp_type: 128, icmp_code: 0, rules: [] },
  ];
  expect((await ops.run("logs", "--log", "l1", "--event", "ACCEPT")).out).toMatchInlineSnapshot(`
    "AT                    EVENT   DIRECTION  PORT  SWITCH  PROTOCOL  FROM           TO           LOG   RULES
    2026-01-31T12:00:00Z  ACCEPT  ingress    web   hv1     6         10.0.0.9:4000  10.0.0.5:80  mine  r1
    2026-01-31T12:00:00Z  DROP    ingress    p1    hv1     58 128/0  fd00::9        fd00::5      l2    -
    "
  `);
  expect(ops.asked.at(-1)).toBe("/logs?log=l1&event=ACCEPT");
  expect(JSON.parse((await ops.run("logs", "--json")).out)).toEqual(ops.answer);
  ops.answer = [];
  expect(await ops.run("logs")).toEqual({ code: 0, out: "no entries\n", err: "" });
  ops.why = "no log is on";
  expect(await ops.run("logs")).toEqual({ code: 0, out: "no entries: no log is on\n", err: "" });
  ops.why = undefined;
});
