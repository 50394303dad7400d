// Ports of port forwardings: how callers say them, and how flows match them.
import { badRequest, portMatches, type PortMask } from "#app";

/** Both ends included. */
export interface PortRange {
  readonly min: number;
  readonly max: number;
}
export const sizeOf = ({ min, max }: PortRange): number => max - min + 1;
export const overlaps = (a: PortRange, b: PortRange): boolean => a.min <= b.max && b.min <= a.max;
export const textOf = ({ min, max }: PortRange): string => `${min}:${max}`;
/** What `external_port` and `internal_port` show. */
export const singleOf = ({ min, max }: PortRange): number | null => (min === max ? min : null);

export const badForwarding = (message: string): Error => badRequest(`Bad port_forwarding request: ${message}.`, "BadRequest");

/** From a port, a range "a:b", or both if they say the same. @throws ApiError 400 BadRequest */
export function rangeOf(side: "external" | "internal", port: number | null, range: string | null): PortRange {
  if (port === null && range === null) throw badForwarding(`either ${side}_port or ${side}_port_range is required`);
  if (range === null) return { min: port!, max: port! };
  const [, first, last = first] = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(range) ?? [];
  const found = { min: Number(first), max: Number(last) };
  if (first === undefined || found.min < 1 || found.max > 65_535 || found.min > found.max) throw badForwarding(`${side}_port_range '${range}' is no range of ports`);
  if (port !== null && (found.min !== port || found.max !== port)) throw badForwarding(`${side}_port ${port} is not what ${side}_port_range '${range}' says`);
  return found;
}

/** What a flow matches, and the port that it leads to; undefined: the same. */
export interface Forwarded {
  readonly match: number | PortMask;
  readonly to: number | undefined;
}

/** Few flows where ports stay as they are or all become one; one for each port where they are shifted. */
export function forwarded(external: PortRange, internal: PortRange): Forwarded[] {
  if (external.min === internal.min || sizeOf(internal) === 1) {
    const to = sizeOf(internal) === 1 ? internal.min : undefined;
    return portMatches(external.min, external.max).map((match) => ({ match, to }));
  }
  return Array.from({ length: sizeOf(external) }, (_, n) => ({ match: external.min + n, to: internal.min + n }));
}

/** Whether few flows say which port outside one inside has: it is one, or has the same number. */
export const isPlain = (external: PortRange, internal: PortRange): boolean => sizeOf(external) === sizeOf(internal) && (sizeOf(external) === 1 || external.min === internal.min);
