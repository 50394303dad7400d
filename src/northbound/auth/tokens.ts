// Static tokens from a file, for small sites: who has one is who the file says. Read again when it changes: a token that is taken out counts no more.
import type { Logger } from "pino";
import { isObject, type Caller } from "../../app/contract.ts";
import { isUnicode } from "../../app/api/validate.ts";
import type { Problem } from "../../lib/problem.ts";
import { parseYaml, WatchedFile } from "../../lib/files.ts";
import { roleNames } from "../policy/roles.ts";
import { hashOf, rolesOf, Unauthenticated, type Authenticator, type Credentials } from "./authenticator.ts";

type Identity = Omit<Caller, "requestId">;

const ROLES: ReadonlySet<string> = new Set(roleNames);
const KEYS: ReadonlySet<string> = new Set(["token", "project_id", "user_id", "roles"]);
const SHORTEST = 16;

/** By the token's hash. @throws Error of one line that names the entry */
export function parseTokens(text: string): ReadonlyMap<string, Identity> {
  const entries = parseYaml(text);
  if (!Array.isArray(entries)) throw new Error("is no list of {token, project_id, user_id, roles}");
  const found = new Map<string, Identity>();
  entries.forEach((entry: unknown, i) => {
    const bad = (why: string): Error => new Error(`entry ${i + 1}: ${why}`);
    if (!isObject(entry)) throw bad("is no mapping");
    const unknown = Object.keys(entry).find((key) => !KEYS.has(key));
    if (unknown !== undefined) throw bad(`${JSON.stringify(unknown)} is none of ${[...KEYS].join(", ")}`);
    const { token, project_id: project, user_id: user = "", roles } = entry;
    if (typeof token !== "string" || token.length < SHORTEST || !/^[\x21-\x7e]+$/.test(token)) throw bad(`token must be text of at least ${SHORTEST} printable characters without spaces`);
    if (typeof project !== "string" || project === "" || project.length > 255 || !isUnicode(project)) throw bad("project_id must be text of 1 to 255 characters");
    if (typeof user !== "string" || user.length > 255 || !isUnicode(user)) throw bad("user_id must be text of up to 255 characters");
    if (!Array.isArray(roles) || roles.length === 0 || !roles.every((role) => typeof role === "string" && ROLES.has(role))) throw bad(`roles must be a list of some of ${[...ROLES].join(", ")}`);
    const hash = hashOf(token);
    if (found.has(hash)) throw bad("its token is that of another entry");
    const set = rolesOf(roles.join(","));
    found.set(hash, { projectId: project, userId: user, roles: set, admin: set.has("admin") });
  });
  return found;
}

export class TokenFile implements Authenticator {
  private callers: ReadonlyMap<string, Identity> = new Map();
  private readonly file: WatchedFile;

  /** @throws Error of one line: the first file must be a good one */
  constructor(path: string, log: Logger) {
    this.file = new WatchedFile(path, {
      what: "file of tokens", kind: "token_file", otherwise: "the tokens before it stay in force", log, cure: "Mend the file: it is read again when it changes.",
      use: (text) => {
        this.callers = parseTokens(text);
      },
    });
  }

  get problem(): Problem | undefined {
    return this.file.problem;
  }

  reload(): void {
    this.file.reload();
  }

  authenticate({ requestId, header, hashed = hashOf }: Credentials): Caller {
    const token = header("x-auth-token");
    const found = token === undefined ? undefined : this.callers.get(hashed(token));
    if (found === undefined) throw new Unauthenticated('Token realm="axion"');
    return { requestId, ...found };
  }

  close(): void {
    this.file.close();
  }
}
