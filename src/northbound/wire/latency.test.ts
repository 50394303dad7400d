// What a request counts as: few routes, whatever paths callers make up.
import fastify from "fastify";
import { expect, test } from "vitest";
import { Metrics } from "../../lib/metrics.ts";
import { measureRequests, routeOf } from "./latency.ts";

test.each([
  ["/v2.0/networks", "/v2.0/networks"], ["/v2.0/networks.json?name=x", "/v2.0/networks"], ["/v2.0/networks/", "/v2.0/networks"], ["/v2.0/networks/8f3c", "/v2.0/networks/{id}"],
  ["/v2.0/networks/8f3c/tags/red", "/v2.0/networks/{id}"], ["/v1.1/tenants/t/networks", "/v1.1"], ["/v2.0/nothing/x", "other"], ["/", "other"], ["//v2.0//x", "other"], ["/v3/networks", "other"],
])("%s is of the route %s", (url, route) => {
  expect(routeOf(url, new Set(["networks"]))).toBe(route);
});

test("answers are counted by method, route and class of status, but for those that wait", async () => {
  const metrics = new Metrics();
  const server = fastify();
  measureRequests(server, metrics, new Set(["networks"]));
  server.all("/v2.0/networks", () => ({}));
  for (const [method, url] of [["GET", "/v2.0/networks"], ["GET", "/v2.0/networks?name=a"], ["PATCH", "/v2.0/networks"], ["GET", "/nothing"], ["POST", "/v2.0/networks?wait=dataplane"]] as const) await server.inject({ method, url });
  const counts = (await metrics.text()).split("\n").flatMap((line) => /^axion_api_request_seconds_count\{(.*)\} (\d+)$/.exec(line)?.slice(1).join(" ") ?? []);
  expect(counts.sort()).toEqual(['method="GET",route="/v2.0/networks",status="2xx" 2', 'method="GET",route="other",status="4xx" 1', 'method="other",route="/v2.0/networks",status="2xx" 1']);
  await server.close();
});
