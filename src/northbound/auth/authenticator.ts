// Who asks: one file for each way to tell.
import crypto from "node:crypto";
import { ApiError, type Caller } from "../../app/contract.ts";
import type { Problem } from "../../lib/problem.ts";
import { impliedRoles } from "../policy/index.ts";

/** What of a request says who sent it. */
export interface Credentials {
  readonly requestId: string;
  /** First value of a header; lower-case name. */
  readonly header: (name: string) => string | undefined;
  /** `hashOf` of the request's token, which is worked out once for all who ask; default: `hashOf`. */
  readonly hashed?: (token: string) => string;
}

export interface Authenticator {
  /** @throws ApiError 401 for nobody, 503 if it cannot be told now */
  authenticate(credentials: Credentials): Caller | Promise<Caller>;
  /** What is wrong with how it tells now. */
  readonly problem?: Problem | undefined;
  /** Ends what it has running. */
  close?(): void | Promise<void>;
}

/** In one call where Node has it (from 20.12): a third of the time. */
const { hash } = crypto as { readonly hash?: (algorithm: string, data: string, encoding: "base64") => string };
/** Tokens are kept and compared by their hashes, so that neither what is kept nor how long a comparison takes says anything of them. */
export const hashOf = hash === undefined ? (token: string): string => crypto.createHash("sha256").update(token).digest("base64") : (token: string): string => hash("sha256", token, "base64");

/** `hashOf` that works out that of one request's token once. The very same string: how long that comparison takes says nothing of a token. */
export function hasherOf(own: string | undefined): typeof hashOf {
  let hash: string | undefined;
  return (token) => (token === own ? (hash ??= hashOf(token)) : hashOf(token));
}

const MAX_SETS = 1000;
const roleSets = new Map<string, ReadonlySet<string>>();

/** The set for a comma-separated text: the same object for the same text, so that others can key on it. */
export function rolesOf(text: string): ReadonlySet<string> {
  let roles = roleSets.get(text);
  if (roles === undefined) {
    roles = impliedRoles(text.split(","));
    if (roleSets.size < MAX_SETS) roleSets.set(text, roles);
  }
  return roles;
}

/** Nobody that is known; `challenge` says in WWW-Authenticate where to become somebody. */
export class Unauthenticated extends ApiError {
  readonly challenge: string;
  constructor(challenge: string) {
    super(401, "Unauthorized", "The request you have made requires authentication.");
    this.name = "Unauthenticated";
    this.challenge = challenge;
  }
}
