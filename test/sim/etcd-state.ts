// What the simulated etcd (etcd.ts) holds, and how it goes over the wire.
import type { KeyValue } from "etcd-v3-client";
import type { End } from "./network.ts";
import type { Machine } from "./world.ts";

export interface Kv {
  readonly key: string;
  readonly value: Buffer;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: bigint;
}
export interface Change {
  readonly key: string;
  /** undefined: deleted. */
  readonly kv: Kv | undefined;
}
export interface Lease {
  readonly ttlMs: number;
  readonly ttlS: number;
  readonly keys: Set<string>;
  until: number;
}
export interface Watcher {
  readonly end: End;
  readonly call: number;
  readonly member: Member;
  readonly start: string;
  readonly stop: string | undefined;
}
export interface Member {
  readonly machine: Machine;
  readonly address: string;
  /** It sees no leader. */
  isolated: boolean;
}

/** A request as the client's carrier sends it. */
export interface EtcdCall {
  readonly call: number;
  readonly path: string;
  readonly stream: boolean;
  readonly ends?: boolean;
}
export interface EtcdAnswer {
  readonly call: number;
  readonly error?: { readonly code: number; readonly details: string };
}

export const text = (key: string | Uint8Array | undefined): string => (key === undefined ? "" : typeof key === "string" ? key : Buffer.from(key).toString("latin1"));
export const bytesOf = (key: string): Buffer => Buffer.from(key, "latin1");
/** As the codec decodes it: every field is there. */
export type Asked<T> = { readonly [K in keyof T]-?: NonNullable<T[K]> };

export const UNAVAILABLE = 14;
export const OUT_OF_RANGE = 11;
export const NOT_FOUND = 5;
export class Refused extends Error {
  readonly code: number;
  constructor(code: number, details: string) {
    super(details);
    this.code = code;
  }
}

export const wireOf = ({ key, value, create, mod, version, lease }: Kv, bare: boolean): Partial<KeyValue> => ({ key: bytesOf(key), create_revision: create, mod_revision: mod, version, value: bare ? Buffer.alloc(0) : value, lease });
