// What a failed call means: gRPC's status and etcd's own words as an EtcdError.
import { status, type ServiceError } from "@grpc/grpc-js";
import { EtcdError, type EtcdErrorCode, type EtcdErrorFields } from "../errors.ts";

/** etcd's words (api/v3rpc/rpctypes/error.go), where the status alone does not say enough. */
const WORDS: readonly (readonly [RegExp, EtcdErrorCode])[] = [
  [/required revision has been compacted/, "COMPACTED"],
  [/database space exceeded/, "NO_SPACE"],
  [/request is too large|too many operations|larger than max/, "TOO_LARGE"],
  [/invalid auth token|user name is empty|invalid user ID or password|authentication is not enabled|revision in the token is old|auth: revision/, "UNAUTHENTICATED"],
  [/permission denied/, "DENIED"],
];

/** The member had no leader when it was asked, or no connection was made: nothing was done. */
const UNDONE = /no leader|not capable|too many requests|No connection established|Name resolution failed|invalid auth token|is stopped/;

export function failure(error: Pick<ServiceError, "code" | "details">, fields: { readonly endpoint: string; readonly call: string }): EtcdError {
  const { code: given, details } = error;
  const words = details.replace(/^etcdserver: (?:mvcc: )?/, "").split("\n")[0]!.slice(0, 300);
  const uncertain = !UNDONE.test(details) && (given === status.UNAVAILABLE || given === status.DEADLINE_EXCEEDED || given === status.CANCELLED || given === status.INTERNAL || given === status.UNKNOWN);
  const all: EtcdErrorFields = { ...fields, ...(uncertain && { uncertain }) };
  const known = WORDS.find(([pattern]) => pattern.test(details));
  if (known !== undefined) return new EtcdError(known[1], `etcd at ${fields.endpoint}: ${words}`, fields, error);
  switch (given) {
    case status.UNAVAILABLE:
    case status.CANCELLED:
    case status.INTERNAL:
      return new EtcdError("UNAVAILABLE", `etcd at ${fields.endpoint} cannot be used: ${reason(details)}`, all, error);
    case status.DEADLINE_EXCEEDED:
      return new EtcdError("TIMEOUT", `etcd at ${fields.endpoint} does not answer in time`, all, error);
    case status.UNAUTHENTICATED:
      return new EtcdError("UNAUTHENTICATED", `etcd at ${fields.endpoint}: ${words}`, fields, error);
    case status.PERMISSION_DENIED:
      return new EtcdError("DENIED", `etcd at ${fields.endpoint}: ${words}`, fields, error);
    default:
      return new EtcdError("REFUSED", `etcd at ${fields.endpoint}: ${words}`, all, error);
  }
}

/** The system's reason, out of what gRPC puts around it. */
function reason(details: string): string {
  const last = /Last error: (?:Error: )?([^\n]*?)(?:\. Resolution note.*)?$/.exec(details.split("\n")[0]!)?.[1];
  return (last ?? details.replace(/^etcdserver: /, "").split("\n")[0]!).slice(0, 300);
}

/** Another member, or the same one a moment later, may do it. */
export const mayHeal = ({ code }: EtcdError): boolean => code === "UNAVAILABLE" || code === "TIMEOUT";
