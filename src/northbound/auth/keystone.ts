// Tokens of Keystone. What one says is kept by its hash, five minutes at most, and forgotten when Keystone says that it is revoked. One request is
// under way for a token however many ask with it.
import type { Logger } from "pino";
import { ApiError, type Caller, type FetchAnswer } from "../../app/contract.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Problem } from "../../lib/problem.ts";
import { hashOf, rolesOf, Unauthenticated, type Authenticator, type Credentials } from "./authenticator.ts";
import { KeystoneClient, type KeystoneOptions, type Revocation, type TokenFacts } from "./keystone-client.ts";

export interface KeystoneAuthOptions extends KeystoneOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds between looks at what was revoked. */
  readonly revocationMs?: number;
}

/** Tokens that are kept, good ones and such as are none. */
const KEPT = 10_000;
const REFUSED = 1000;
const KEEP_MS = 300_000;
/** Where revocations are not to be seen. */
const KEEP_UNSEEN_MS = 60_000;
const REFUSED_MS = 10_000;
const REVOCATION_MS = 30_000;
/** Clocks of several Keystones may differ by so much. */
const OVERLAP_MS = 10_000;
/** No token is longer; PKI ones are not spoken any more. */
const LONGEST = 4096;

interface Kept {
  readonly facts: TokenFacts;
  /** By the clock's monotonic(). */
  readonly until: number;
}

export class KeystoneAuth implements Authenticator {
  private readonly client: KeystoneClient;
  private readonly options: KeystoneAuthOptions;
  /** The one used longest ago first. */
  private readonly kept = new Map<string, Kept>();
  private readonly refused = new Map<string, number>();
  private readonly asking = new Map<string, Promise<TokenFacts | undefined>>();
  private readonly stop: () => void;
  private keepMs = KEEP_MS;
  private since: number;
  private looking = false;
  private current: Problem | undefined;
  /** Of the last look: what was asked before it may be known only after. */
  private events: readonly Revocation[] = [];

  constructor(options: KeystoneAuthOptions) {
    this.options = options;
    this.client = new KeystoneClient(options);
    this.since = options.clock.now();
    this.stop = options.clock.setInterval(() => void this.look(), options.revocationMs ?? REVOCATION_MS);
  }

  get problem(): Problem | undefined {
    return this.current;
  }

  /** Asks others in the controller's own name. @throws KeystoneError when Keystone gives no token, and what `ask` throws */
  asController(ask: (token: string) => Promise<FetchAnswer>): Promise<FetchAnswer> {
    return this.client.asOwn(ask);
  }

  /** @throws ApiError 401 for nobody, 503 if Keystone does not say */
  authenticate({ requestId, header, hashed = hashOf }: Credentials): Caller | Promise<Caller> {
    const token = header("x-auth-token");
    if (token === undefined || token === "" || token.length > LONGEST) throw this.nobody();
    const caller = (facts: TokenFacts | undefined): Caller => {
      if (facts === undefined) throw this.nobody();
      const roles = rolesOf(facts.roles.join(","));
      return { requestId, projectId: facts.project, userId: facts.user, roles, admin: roles.has("admin") };
    };
    const service = header("x-service-token");
    const hash = hashed(token);
    const known = this.known(hash);
    if (known !== undefined) return caller(known);
    if (service !== undefined) return this.onBehalf(token, hash, service).then(caller);
    if (this.isRefused(hash)) throw this.nobody();
    return this.ask(hash, token, false).then(caller);
  }

  close(): void {
    this.stop();
  }

  /** A service that goes on with a user's work may use his token after its end. */
  private async onBehalf(token: string, hash: string, service: string): Promise<TokenFacts | undefined> {
    if (service.length > LONGEST) return undefined;
    const serviceHash = hashOf(service);
    const its = this.known(serviceHash) ?? (this.isRefused(serviceHash) ? undefined : await this.ask(serviceHash, service, false));
    const isService = its?.roles.some((role) => role.toLowerCase() === "service") === true;
    // What is none may be one of the past that a service may still use: each is remembered for itself.
    const key = isService ? `${hash}+` : hash;
    return this.isRefused(key) ? undefined : this.ask(key, token, isService);
  }

  private known(hash: string): TokenFacts | undefined {
    const found = this.kept.get(hash);
    if (found === undefined) return undefined;
    this.kept.delete(hash);
    if (found.until <= this.options.clock.monotonic() || found.facts.expiresAt <= this.options.clock.now()) return undefined;
    this.kept.set(hash, found);
    return found.facts;
  }

  private isRefused(hash: string): boolean {
    const until = this.refused.get(hash);
    if (until === undefined) return false;
    if (until > this.options.clock.monotonic()) return true;
    this.refused.delete(hash);
    return false;
  }

  private ask(hash: string, token: string, allowExpired: boolean): Promise<TokenFacts | undefined> {
    let asking = this.asking.get(hash);
    if (asking === undefined) {
      asking = this.validate(hash, token, allowExpired).finally(() => this.asking.delete(hash));
      this.asking.set(hash, asking);
    }
    return asking;
  }

  private async validate(hash: string, token: string, allowExpired: boolean): Promise<TokenFacts | undefined> {
    const { clock } = this.options;
    let facts: TokenFacts | undefined;
    try {
      facts = await this.client.validate(token, allowExpired);
    } catch (error) {
      this.silent(error);
      throw new ApiError(503, "ServiceUnavailable", "The identity service does not answer, so it cannot be told who asks. Try again.");
    }
    this.answers();
    if (facts === undefined) {
      put(this.refused, hash, clock.monotonic() + REFUSED_MS, REFUSED);
      return undefined;
    }
    if (!allowExpired && facts.expiresAt > clock.now() && !this.isRevoked(facts)) put(this.kept, hash, { facts, until: clock.monotonic() + this.keepMs }, KEPT);
    return facts;
  }

  /** What was revoked since the last look. */
  private async look(): Promise<void> {
    if (this.looking || this.kept.size === 0) {
      // Nothing is kept that could be revoked.
      if (!this.looking) this.since = this.options.clock.now();
      return;
    }
    this.looking = true;
    try {
      const found = await this.client.revocations(this.since - OVERLAP_MS);
      this.answers();
      if (found === undefined) {
        if (this.keepMs !== KEEP_UNSEEN_MS) this.options.log.warn({ keepSeconds: KEEP_UNSEEN_MS / 1000 }, "Keystone does not show revocations to this user: tokens are looked at again sooner");
        this.keepMs = KEEP_UNSEEN_MS;
        return;
      }
      this.keepMs = KEEP_MS;
      this.since = found.at;
      this.events = found.events;
      for (const [hash, { facts }] of this.kept) if (this.isRevoked(facts)) this.kept.delete(hash);
    } catch (error) {
      this.silent(error);
    } finally {
      this.looking = false;
    }
  }

  private isRevoked(facts: TokenFacts): boolean {
    return this.events.some((event) => fits(event, facts));
  }

  private nobody(): Unauthenticated {
    return new Unauthenticated(`Keystone uri="${this.client.url}"`);
  }

  private silent(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (this.current === undefined) this.options.log.error({ reason }, "Keystone does not answer: requests with tokens that are not known are refused with 503");
    this.current = {
      kind: "keystone", severity: "critical", since: this.current?.since ?? new Date(this.options.clock.now()).toISOString(), text: `tokens cannot be looked at: ${reason}`, resources: [], switches: [],
      cure: { text: "see whether Keystone runs at --keystone-url, and whether --keystone-user may log in there" },
    };
  }

  private answers(): void {
    if (this.current !== undefined) this.options.log.info("Keystone answers again");
    this.current = undefined;
  }
}

/** Everything that the event names is so of the token: what else there may be to it Keystone knows, which is asked anew. */
function fits({ user, project, domain, auditId, auditChainId, issuedBefore }: Revocation, facts: TokenFacts): boolean {
  return (
    facts.issuedAt <= issuedBefore &&
    (user === undefined || user === facts.user) &&
    (project === undefined || project === facts.project) &&
    (domain === undefined || facts.domains.includes(domain)) &&
    (auditId === undefined || auditId === facts.auditIds[0]) &&
    (auditChainId === undefined || facts.auditIds.includes(auditChainId))
  );
}

/** The last of `limit`. */
function put<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= limit) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
