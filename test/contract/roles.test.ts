// Every role that an access rule of some app names can be given by a file of tokens.
import { expect, test } from "vitest";
import { makeRegistry } from "../../src/northbound/index.ts";
import { parseTokens } from "../../src/northbound/auth/tokens.ts";
import { formatPolicy } from "../../src/northbound/policy/index.ts";
import { Harness } from "../support/harness.ts";

test("roles of access rules are those that tokens of a file may have", async () => {
  const h = await Harness.make();
  const text = formatPolicy(makeRegistry(h.apps).policy);
  await h.close();
  const roles = [...new Set([...text.matchAll(/\brole:(\w+)/g)].map((m) => m[1]!))].sort();
  expect(roles).toContain("data_plane_integrator");
  const token = "0123456789abcdef";
  const [caller] = parseTokens(JSON.stringify([{ token, project_id: "p", roles }])).values();
  expect([...caller!.roles].sort()).toEqual(roles);
});
