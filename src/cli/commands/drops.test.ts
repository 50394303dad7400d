// `axion drops`: what it asks, and what it prints of the answer.
import { expect, test } from "vitest";
import { listener } from "./ops.fixture.ts";

const ops = listener();
const row = { port: "p1", name: "web", project: "p", switch: "hv1", reason: "port_security", packets: 120, bytes: 11_760, per_second: 2, last_minute: 120, last_seen: "2026-01-31T12:01:00Z", persistent_since: "2026-01-31T12:00:00Z" };

test("what goes on first, then the latest", async () => {
  ops.answer = [{ ...row, port: "p3", reason: "no_ipv6", last_seen: null, persistent_since: null }, { ...row, port: "p2", name: "a\u001b[2J", reason: "security_group_ingress", persistent_since: null }, row];
  expect((await ops.run("drops", "--switch", "hv1", "--project", "p", "--port", "p1", "--reason", "port_security")).out).toMatchInlineSnapshot(`
    "PORT  NAME   PROJECT  SWITCH  REASON                  PACKETS  LAST MINUTE  PER SECOND  LAST SEEN             GOES ON SINCE
    p1    web    p        hv1     port_security           120      120          2           2026-01-31T12:01:00Z  2026-01-31T12:00:00Z
    p2    a�[2J  p        hv1     security_group_ingress  120      120          2           2026-01-31T12:01:00Z  -
    p3    web    p        hv1     no_ipv6                 120      120          2           -                     -
    "
  `);
  expect(new URL(ops.asked[0]!, "http://ops").searchParams.toString().split("&").toSorted()).toEqual(["port=p1", "project=p", "reason=port_security", "switch=hv1"]);
  expect(JSON.parse((await ops.run("drops", "--json")).out)).toEqual(ops.answer);
  ops.answer = [];
  expect(await ops.run("drops")).toEqual({ code: 0, out: "no drops\n", err: "" });
});

test("a reason that there is not", async () => {
  expect(await ops.run("drops", "--reason", "rain")).toMatchObject({ code: 2, out: "", err: expect.stringContaining("rain") as string });
});
