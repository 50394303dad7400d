// Keystone v3 as a service sees it: its own token, tokens of others looked at, what was revoked.
// https://docs.openstack.org/api-ref/identity/v3/ (Authentication and token management; OS-REVOKE).
import { readFileSync } from "node:fs";
import { isObject, parseJson, type FetchAnswer, type FetchOptions } from "../../app/contract.ts";
import { fileErrorText } from "../../lib/files.ts";

export interface KeystoneOptions {
  /** With or without /v3. */
  readonly url: string;
  readonly user: string;
  /** Read whenever a token is asked for. */
  readonly passwordFile: string;
  readonly project: string;
  /** Of user and project, by name or id. */
  readonly domain: string;
  /** @throws FetchError */
  readonly fetch: (url: string, options?: FetchOptions) => Promise<FetchAnswer>;
}

/** What a token says. */
export interface TokenFacts {
  readonly project: string;
  readonly user: string;
  readonly roles: readonly string[];
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** The token's own id, and that of the first of those that were made from each other. */
  readonly auditIds: readonly string[];
  readonly domains: readonly string[];
}

/** Of which tokens it is over: those that all the given fields fit, issued before. */
export interface Revocation {
  readonly user?: string;
  readonly project?: string;
  readonly domain?: string;
  readonly auditId?: string;
  readonly auditChainId?: string;
  readonly issuedBefore: number;
}

/** Keystone did not say, so nobody knows. */
export class KeystoneError extends Error {
  readonly code = "KEYSTONE_UNAVAILABLE";

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "KeystoneError";
  }
}

interface OwnToken {
  readonly token: string;
  readonly expiresAt: number;
}

/** A token of our own that ends sooner is not used. */
const MARGIN_MS = 60_000;
const TIMEOUT_MS = 5000;

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
const id = (value: unknown): string | undefined => (isObject(value) ? text(value.id) : undefined);
const time = (value: unknown): number => (typeof value === "string" ? Date.parse(value) : NaN);

export class KeystoneClient {
  /** Ends in /v3. */
  readonly url: string;
  private readonly options: KeystoneOptions;
  private own: OwnToken | undefined;
  private asking: Promise<string> | undefined;
  /** How the domain is named, once that is known. */
  private domainKey: "name" | "id" | undefined;

  constructor(options: KeystoneOptions) {
    this.options = options;
    this.url = options.url.replace(/\/+$/, "").replace(/(\/v3)?$/, "/v3");
  }

  /** undefined: it is no token, or not any more. @throws KeystoneError */
  async validate(token: string, allowExpired = false): Promise<TokenFacts | undefined> {
    const answer = await this.get(`/auth/tokens?nocatalog${allowExpired ? "&allow_expired=1" : ""}`, { "x-subject-token": token });
    if (answer.status === 404) return undefined;
    const facts = answer.status === 200 ? factsOf(json(answer)) : undefined;
    if (facts === undefined) throw new KeystoneError(`${this.url} answers ${answer.status} when a token is to be looked at`);
    return facts;
  }

  /** Since a moment; undefined: this user may not see them. @throws KeystoneError */
  async revocations(sinceMs: number): Promise<{ readonly events: readonly Revocation[]; readonly at: number } | undefined> {
    const answer = await this.get(`/OS-REVOKE/events?since=${encodeURIComponent(new Date(sinceMs).toISOString())}`, {});
    if (answer.status === 403 || answer.status === 404) return undefined;
    const body = json(answer);
    if (answer.status !== 200 || !isObject(body) || !Array.isArray(body.events)) throw new KeystoneError(`${this.url} answers ${answer.status} when revocations are asked for`);
    const at = Date.parse(answer.headers.date ?? "");
    return { events: body.events.filter(isObject).map(revocationOf), at: Number.isNaN(at) ? sinceMs : at };
  }

  private get(path: string, headers: Readonly<Record<string, string>>): Promise<FetchAnswer> {
    return this.asOwn((own) => this.send(`${this.url}${path}`, { headers: { ...headers, "x-auth-token": own } }));
  }

  /** What is asked with a token of our own; with a new one when that counts no more. @throws KeystoneError when there is none, and what `ask` throws */
  async asOwn(ask: (token: string) => Promise<FetchAnswer>): Promise<FetchAnswer> {
    for (let attempt = 0; ; attempt++) {
      const own = await this.token();
      const answer = await ask(own);
      if (answer.status !== 401 || attempt > 0) return answer;
      // Ours was revoked, or Keystone has other keys.
      if (this.own?.token === own) this.own = undefined;
    }
  }

  private token(): Promise<string> {
    if (this.own !== undefined && this.own.expiresAt - MARGIN_MS > Date.now()) return Promise.resolve(this.own.token);
    return (this.asking ??= this.authenticate().finally(() => (this.asking = undefined)));
  }

  private async authenticate(): Promise<string> {
    const keys = this.domainKey === undefined ? (["name", "id"] as const) : [this.domainKey];
    for (const key of keys) {
      const answer = await this.send(`${this.url}/auth/tokens?nocatalog`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(this.credentials(key)) });
      const token = answer.headers["x-subject-token"];
      const facts = answer.status === 201 ? factsOf(json(answer)) : undefined;
      if (facts !== undefined && token !== undefined) {
        this.domainKey = key;
        this.own = { token, expiresAt: facts.expiresAt };
        return token;
      }
      if (answer.status !== 401) throw new KeystoneError(`${this.url} answers ${answer.status} to user ${this.options.user}`);
    }
    this.domainKey = undefined;
    throw new KeystoneError(`${this.url} does not let user ${this.options.user} in: check --keystone-user, --keystone-project, --keystone-domain and the password's file`);
  }

  private credentials(key: "name" | "id"): unknown {
    const { user: name, project, passwordFile } = this.options;
    const domain = { [key]: this.options.domain };
    let password: string;
    try {
      password = readFileSync(passwordFile, "utf8").replace(/\r?\n$/, "");
    } catch (error) {
      throw new KeystoneError(`--keystone-password-file ${passwordFile}: ${fileErrorText(error)}`, error);
    }
    return { auth: { identity: { methods: ["password"], password: { user: { name, domain, password } } }, scope: { project: { name: project, domain } } } };
  }

  private async send(url: string, options: FetchOptions): Promise<FetchAnswer> {
    try {
      return await this.options.fetch(url, { timeoutMs: TIMEOUT_MS, ...options });
    } catch (error) {
      throw new KeystoneError((error as Error).message, error);
    }
  }
}

function json({ body }: FetchAnswer): unknown {
  try {
    return parseJson(Buffer.from(body).toString("utf8"));
  } catch {
    return undefined;
  }
}

function factsOf(body: unknown): TokenFacts | undefined {
  const token = isObject(body) ? body.token : undefined;
  if (!isObject(token)) return undefined;
  const [issuedAt, expiresAt] = [time(token.issued_at), time(token.expires_at)];
  const user = id(token.user);
  if (Number.isNaN(issuedAt) || Number.isNaN(expiresAt) || user === undefined) return undefined;
  const roles = Array.isArray(token.roles) ? token.roles.flatMap((role) => (isObject(role) ? (text(role.name) ?? []) : [])) : [];
  const domains = [token.domain, isObject(token.user) ? token.user.domain : undefined, isObject(token.project) ? token.project.domain : undefined].flatMap((d) => id(d) ?? []);
  return {
    project: id(token.project) ?? "", user, roles, issuedAt, expiresAt, domains,
    auditIds: Array.isArray(token.audit_ids) ? token.audit_ids.flatMap((a) => text(a) ?? []) : [],
  };
}

function revocationOf(event: Readonly<Record<string, unknown>>): Revocation {
  const before = time(event.issued_before);
  const field = (name: string, value: unknown): Record<string, string> => {
    const found = text(value);
    return found === undefined ? {} : { [name]: found };
  };
  return {
    ...field("user", event.user_id), ...field("project", event.project_id), ...field("domain", event.domain_id), ...field("auditId", event.audit_id), ...field("auditChainId", event.audit_chain_id),
    issuedBefore: Number.isNaN(before) ? Infinity : before,
  };
}
