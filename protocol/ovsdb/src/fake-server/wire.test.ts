/** Bytes: what the fake server closes on and answers to, and the size and digest of what it sends for 5,000 rows. */

import { createHash } from "node:crypto";

import { describe, expect, test } from "vitest";

import { FakeOvsdbServer } from "./server.ts";
import { RawClient, sortMembers } from "../testing/compare.ts";
import { stringify, type Json, type JsonObject } from "../wire/json.ts";
import { haveVectors, until, vectors } from "../testing/support.ts";

const schema = (name: string): Json => ({ name, version: "1.0.0", tables: { T: { columns: { a: { type: "string" } } } } });

/** Why the answer is another one than that recorded. */
const OTHERWISE: Readonly<Record<string, Json>> = {
  // ovsdb-server echoes an integer beyond 64 bits as 0, which its README calls no behaviour to copy
  "ovsdb-malformed/big integer": [{ id: 1, result: [18446744073709551616n], error: null }],
};

describe.skipIf(!haveVectors)("malformed JSON-RPC", () => {
  test.each(vectors("malformed-json-rpc.jsonl").map((vector) => [vector["name"] as string, vector] as const))("%s", async (name, vector) => {
    const server = new FakeOvsdbServer({ databases: [{ schema: schema("Mini") }, { schema: schema("Open_vSwitch") }] });
    const client = await RawClient.connect(await server.listen());
    const expected = (OTHERWISE[name] ?? vector["replies"]) as readonly JsonObject[];
    const nested = /^nested (\d+)$/.exec((vector["recipe"] ?? "") as string);
    client.write(nested === null ? vector["text"] as string : `{"method":"echo","params":${"[".repeat(Number(nested[1]))}${"]".repeat(Number(nested[1]))},"id":1}`);
    if (vector["closed"] === true) await until(() => client.closed);
    else await until(() => client.messages.length >= expected.length);
    // a server that does not close shows it by what it does not do
    await new Promise((resolve) => setTimeout(resolve, 20));
    const sorted = (messages: readonly JsonObject[]): Json => messages.map((message) => ({
      ...message, result: (message["result"] as readonly Json[]).every((item) => typeof item === "string") ? [...message["result"] as readonly string[]].sort() : message["result"]!,
    }));
    expect(sorted(client.messages)).toEqual(sorted(expected));
    expect(client.closed).toBe(vector["closed"]);
    client.close();
    await server.close();
  });
});

const [recipe] = vectors("large.jsonl");

describe.skipIf(recipe === undefined)("5,000 rows", () => {
  const rows = Array.from({ length: 5000 }, (_, i): JsonObject => ({
    op: "insert", table: "Row", uuid: `00000000-0000-4000-8000-${i.toString(16).padStart(12, "0")}`,
    row: {
      name: `lsp-${String(i).padStart(5, "0")}`, n: i * i,
      ext: ["map", [["i", String(i)], ["pad", "x".repeat(i % 97)], ...(i % 100 === 0 ? [["utf8", "\u00e9\u4e2d\u{1f600}"]] : [])]],
      tags: ["set", Array.from({ length: i % 6 }, (__, j) => j)],
    },
  }));
  const columns = recipe?.["monitored_columns"] ?? [];
  const digest = (json: Json): string => createHash("sha256").update(stringify(sortMembers(json))).digest("hex");

  test.each([["monitor", "monitor reply", "update after the change"], ["monitor_cond", "monitor_cond reply", "update2 after the change"]])("%s: size and digest are those of ovsdb-server", async (method, reply, update) => {
    const expected = recipe!["expect"] as Readonly<Record<string, JsonObject>>;
    const server = new FakeOvsdbServer({ databases: [{ schema: recipe!["schema"]! }] });
    expect((await server.transactJson("Big", rows)).length).toBe(5000);
    const client = await RawClient.connect(await server.listen());
    const [answer] = await client.ask(method, ["Big", "mm", { Row: [{ columns }] }], 1);
    const result = answer!["result"] as JsonObject;
    expect({ rows: Object.keys(result["Row"] as JsonObject).length, digest: digest(result) }).toEqual({ rows: 5000, digest: expected[reply]!["canonical_sha256_of_result"] });
    expect(client.bytes).toBe(expected[reply]!["bytes_on_the_wire"]);

    const before = client.bytes;
    const { then } = recipe!;
    await server.transactJson("Big", [then!]);
    await client.until(() => client.messages.length === 2);
    const params = client.messages[1]!["params"] as readonly Json[];
    expect(digest(params[1]!)).toBe(expected[update]!["canonical_sha256_of_params_1"]);
    expect(client.bytes - before).toBe(expected[update]!["bytes_on_the_wire"]);
    client.close();
    await server.close();
  });
});
