// How often may be asked, by project and by address.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, describe, expect, test } from "vitest";
import { TokenFile } from "../auth/tokens.ts";
import { Buckets } from "./rate.ts";
import { garden } from "../testing/declarations.ts";
import { Api, as } from "../testing/support.ts";
import { ownFolder } from "../../../test/support/folder.ts";

describe("buckets", () => {
  test("hold a burst, then fill at their rate, and are bounded", () => {
    let now = 0;
    const buckets = new Buckets({ perSecond: 2, burst: 3 }, () => now, 2);
    expect([1, 2, 3].map(() => buckets.take("a"))).toEqual([0, 0, 0]);
    expect(buckets.take("a")).toBe(0.5);
    expect(buckets.take("b")).toBe(0);
    now = 400;
    expect(buckets.take("a")).toBeCloseTo(0.1);
    now = 500;
    expect([buckets.wait("a"), buckets.take("a"), buckets.take("a")]).toEqual([0, 0, 0.5]);
    now = 1e9;
    expect([1, 2, 3].map(() => buckets.take("a"))).toEqual([0, 0, 0]);
    expect(buckets.take("a")).toBe(0.5);
    buckets.take("b");
    buckets.take("c");
    expect([buckets.size, buckets.wait("a")]).toEqual([2, 0]);
  });
});

describe("the API", () => {
  let api: Api;
  afterEach(() => api.close());
  const slow = { perSecond: 0.001, burst: 3 };

  test("refuses a project that asks too often, in the API's form, and no other", async () => {
    api = await Api.make([garden], {}, undefined, undefined, { rates: { project: slow } });
    const before = api.model.generation;
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await api.get("/v2.0/garden-beds", as("p1")));
    expect(answers.map((a) => a.status)).toEqual([200, 200, 200, 429]);
    const refused = await api.post("/v2.0/garden-beds", { bed: {} }, as("p1"));
    expect([refused.status, refused.body.NeutronError.type, Number(refused.headers["retry-after"]) >= 1, refused.headers["x-openstack-request-id"], api.model.generation]).toEqual([429, "TooManyRequests", true, expect.stringMatching(/^req-/), before]);
    expect((await api.get("/v2.0/garden-beds", as("p2"))).status).toBe(200);
    for (const roles of ["admin", "service"]) for (let i = 0; i < 5; i++) expect((await api.get("/v2.0/garden-beds", as("p1", roles))).status).toBe(200);
  });

  test("has no limit unless it is given one", async () => {
    api = await Api.make([garden]);
    for (let i = 0; i < 300; i++) expect((await api.get("/v2.0/garden-beds", as("p1"))).status).toBe(200);
  });

  test("refuses an address whose tokens are nobody's before it asks; who was known there goes on", async () => {
    const file = join(ownFolder("rate"), "tokens");
    writeFileSync(file, JSON.stringify([{ token: "0123456789abcdef", project_id: "p1", roles: ["member"] }, { token: "fedcba9876543210", project_id: "p2", roles: ["member"] }]));
    const log = pino({ level: "silent" });
    api = await Api.make([garden], {}, undefined, undefined, { auth: new TokenFile(file, log), rates: { unauthenticated: slow } });
    const ask = (token: string) => api.get("/v2.0/garden-beds", { "x-auth-token": token });
    expect((await ask("0123456789abcdef")).status).toBe(200);
    expect([(await ask("a")).status, (await ask("b")).status, (await api.get("/v2.0/garden-beds")).status]).toEqual([401, 401, 401]);
    const refused = await ask("c");
    expect([refused.status, refused.body.NeutronError.type, Number(refused.headers["retry-after"]) > 100]).toEqual([429, "TooManyRequests", true]);
    expect([(await ask("0123456789abcdef")).status, (await ask("fedcba9876543210")).status]).toEqual([200, 429]);
  });
});
