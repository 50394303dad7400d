import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { garden, labels } from "../testing/declarations.ts";
import { Api } from "../testing/support.ts";
import { parseTokens, TokenFile } from "./tokens.ts";

const [MEMBER, READER, ADMIN] = ["m".repeat(16), "reader-0123456789", "admin-0123456789"];
const text = `
- {token: ${MEMBER}, project_id: p1, user_id: u1, roles: [member]}
- {token: ${READER}, project_id: p1, roles: [reader]}
- {token: ${ADMIN}, project_id: ops, roles: [admin]}
`;

describe("a file of tokens", () => {
  it.each([
    ["a mapping", "token: x", "is no list"],
    ["nothing", "", "is no list"],
    ["YAML that is none", "- {a: b", "line 1: "],
    ["an entry that is none", "- x", "entry 1: is no mapping"],
    ["a key nobody knows", `- {token: ${MEMBER}, project_id: p, roles: [member], role: x}`, 'entry 1: "role" is none of'],
    ["a short token", "- {token: abc, project_id: p, roles: [member]}", "entry 1: token must be text of at least 16"],
    ["a number for a token", "- {token: 12345678901234567, project_id: p, roles: [member]}", "entry 1: token must be text"],
    ["no project", `- {token: ${MEMBER}, roles: [member]}`, "entry 1: project_id must be"],
    ["half a character in a project", `- {token: ${MEMBER}, project_id: "x\\ud800y", roles: [member]}`, "entry 1: project_id must be"],
    ["half a character in a user", `- {token: ${MEMBER}, project_id: p, user_id: "\\udc00", roles: [member]}`, "entry 1: user_id must be"],
    ["no role", `- {token: ${MEMBER}, project_id: p, roles: []}`, "entry 1: roles must be"],
    ["a role nobody knows", `- {token: ${MEMBER}, project_id: p, roles: [root]}`, "entry 1: roles must be"],
    ["one token twice", `- {token: ${MEMBER}, project_id: p, roles: [member]}\n- {token: ${MEMBER}, project_id: q, roles: [member]}`, "entry 2: its token is that of another entry"],
  ])("%s is refused", (_, bad, why) => {
    expect(() => parseTokens(bad)).toThrow(why);
  });
});

describe("callers", () => {
  let folder: string;
  let path: string;
  let file: TokenFile;
  let api: Api;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tokens-"));
    path = join(folder, "tokens.yaml");
    writeFileSync(path, text);
    file = new TokenFile(path, pino({ level: "silent" }));
    api = await Api.make([garden, labels], {}, undefined, undefined, { auth: file });
  });
  afterAll(async () => {
    await api.close();
    rmSync(folder, { recursive: true });
  });
  const create = async (headers: Record<string, string>): Promise<[number, string | undefined]> => {
    const { status, body } = await api.post("/v2.0/garden-beds", { bed: {} }, headers);
    return [status, body.bed?.project_id as string | undefined];
  };

  it("are who the file says, whatever else the request says of itself", async () => {
    expect(await create({ "x-auth-token": MEMBER, "x-project-id": "p2", "x-roles": "admin" })).toEqual([201, "p1"]);
    expect(await create({ "x-auth-token": READER, "x-roles": "admin" })).toEqual([403, undefined]);
    expect(await create({ "x-auth-token": ADMIN })).toEqual([201, "ops"]);
  });

  it("are nobody without one that is in it: 401 and how to be somebody", async () => {
    for (const headers of [{}, { "x-auth-token": "" }, { "x-auth-token": `${MEMBER}x` }, { "x-project-id": "p1", "x-roles": "admin" }]) {
      const answer = await api.nb.inject({ method: "GET", url: "/v2.0/garden-beds", headers });
      expect([answer.statusCode, answer.headers["www-authenticate"]]).toEqual([401, 'Token realm="axion"']);
    }
  });

  it("change with the file; one that cannot be used changes nothing", async () => {
    writeFileSync(path, text.replace(MEMBER, "another-token-of-it"));
    file.reload();
    expect([(await create({ "x-auth-token": MEMBER }))[0], (await create({ "x-auth-token": "another-token-of-it" }))[0]]).toEqual([401, 201]);
    writeFileSync(path, "- nothing");
    file.reload();
    expect(file.problem).toMatchObject({ kind: "token_file", severity: "error" });
    expect((await create({ "x-auth-token": "another-token-of-it" }))[0]).toBe(201);
    writeFileSync(path, text);
    file.reload();
    expect(file.problem).toBeUndefined();
  });
});
