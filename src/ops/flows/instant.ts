// Instants of the past as they are asked for: a generation, or RFC 3339.
import type { Instant } from "../../model/past/history.ts";
import { BadQuery } from "../bad-query.ts";

const GENERATION = /^\d{1,15}$/;
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** @throws BadQuery */
export function instantOf(query: ReadonlyMap<string, string>, name: string): Instant | undefined {
  const value = query.get(name);
  if (value === undefined) return undefined;
  const instant = parseInstant(value);
  if (instant === undefined) throw new BadQuery(name, noInstant(value));
  return instant;
}

/** Undefined: it is none. */
export function parseInstant(value: string): Instant | undefined {
  if (GENERATION.test(value)) return { generation: Number(value) };
  const ms = RFC3339.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(ms) ? undefined : { ms };
}
export const noInstant = (value: string): string => `'${value.slice(0, 64)}' is no generation and no RFC 3339 instant such as 2026-01-31T12:00:00Z`;
