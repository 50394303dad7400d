// Which rules of a set say nothing that another of the set does not say as well. What a group or set of addresses has as members changes, so a rule with such a
// remote side is covered by one with the same, or with any, alone.
import { parseCidr } from "#app";
import { remoteOf, type SecurityGroupRule } from "../model.ts";
import { protocolNumber } from "../protocol.ts";

type Said = Pick<SecurityGroupRule, "id" | "direction" | "ethertype" | "protocol" | "port_range_min" | "port_range_max" | "remote_ip_prefix" | "remote_group_id" | "remote_set">;

/** From one port, or ICMP type and code, to another, as one number. */
interface Span<R> {
  readonly rule: R;
  readonly from: number;
  readonly to: number;
}

const ANY = "any";
const CODES = 256;
const ALL = 65_535;
const isIcmp = (protocol: number | undefined): boolean => protocol === 1 || protocol === 58;

/** Ports; of ICMP type * 256 + code. */
function spanOf<R extends Said>(rule: R): Span<R> {
  const { port_range_min: min, port_range_max: max } = rule;
  if (min === null) return { rule, from: 0, to: ALL };
  if (!isIcmp(protocolNumber(rule.protocol, rule.ethertype))) return { rule, from: min, to: max ?? min };
  return max === null ? { rule, from: min * CODES, to: min * CODES + CODES - 1 } : { rule, from: min * CODES + max, to: min * CODES + max };
}

const bitsOf = (ethertype: Said["ethertype"]): number => (ethertype === "IPv4" ? 32 : 128);
const prefixKey = (family: number, address: bigint, length: number, bits: number): string => `${family}/${length === 0 ? 0n : address >> BigInt(bits - length)}/${length}`;

/** What of the other side covers what a rule says of it: the same, and all that is wider. `lengths`: of prefixes that there are. */
function* remotesAbove(rule: Said, lengths: Iterable<number>): Iterable<string> {
  yield ANY;
  const remote = remoteOf(rule);
  if (remote !== undefined) yield `set ${remote}`;
  if (rule.remote_ip_prefix === null) return;
  const { family, address, prefix } = parseCidr(rule.remote_ip_prefix)!;
  for (const length of lengths) if (length <= prefix) yield prefixKey(family, address, length, bitsOf(rule.ethertype));
}
function remoteKey(rule: Said): string {
  const remote = remoteOf(rule);
  if (remote !== undefined) return `set ${remote}`;
  if (rule.remote_ip_prefix === null) return ANY;
  const { family, address, prefix } = parseCidr(rule.remote_ip_prefix)!;
  return prefix === 0 ? ANY : prefixKey(family, address, prefix, bitsOf(rule.ethertype));
}
const keyOf = (rule: Said, remote: string, protocol: number | undefined): string => `${rule.direction} ${rule.ethertype} ${remote} ${protocol ?? ANY}`;

export class Covers<R extends Said> {
  /** By all but ports: in the order of where they begin, and of equal ones the longest first; each with the one before it, or itself, that reaches furthest. */
  private readonly spans = new Map<string, (Span<R> & { furthest: Span<R> })[]>();
  /** Lengths of prefixes that rules of a family name, but 0. */
  private readonly lengths = { IPv4: new Set<number>(), IPv6: new Set<number>() };

  constructor(rules: Iterable<R>) {
    const lists = new Map<string, Span<R>[]>();
    for (const rule of rules) {
      const length = rule.remote_ip_prefix === null ? 0 : parseCidr(rule.remote_ip_prefix)!.prefix;
      if (length > 0) this.lengths[rule.ethertype].add(length);
      const key = keyOf(rule, remoteKey(rule), protocolNumber(rule.protocol, rule.ethertype));
      const list = lists.get(key);
      if (list === undefined) lists.set(key, [spanOf(rule)]);
      else list.push(spanOf(rule));
    }
    for (const [key, list] of lists) {
      list.sort((a, b) => a.from - b.from || b.to - a.to || (a.rule.id < b.rule.id ? -1 : 1));
      let furthest = list[0]!;
      this.spans.set(key, list.map((span) => ({ ...span, furthest: (furthest = span.to > furthest.to ? span : furthest) })));
    }
  }

  /**
   * A rule that says all that this one says: it says more, or is equal and the first by id. So whoever takes away all rules that have such a one takes nothing
   * from what the set allows. Undefined: there is none.
   */
  of(rule: R): R | undefined {
    const own = spanOf(rule);
    const number = protocolNumber(rule.protocol, rule.ethertype);
    const ownKey = keyOf(rule, remoteKey(rule), number);
    for (const remote of remotesAbove(rule, this.lengths[rule.ethertype])) {
      for (const protocol of number === undefined ? [undefined] : [undefined, number]) {
        const key = keyOf(rule, remote, protocol);
        const found = this.reaching(key, own, key === ownKey ? rule.id : undefined);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** One among those of a key that covers a span. `but`: a rule that has this key itself: of equal ones those count that come before it. */
  private reaching(key: string, { from, to }: Span<R>, but: string | undefined): R | undefined {
    const list = this.spans.get(key);
    if (list === undefined) return undefined;
    // The last that begins no later.
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle]!.from <= from) low = middle + 1;
      else high = middle;
    }
    if (but !== undefined) low = list.findIndex((span) => span.rule.id === but);
    const best = list[low - 1]?.furthest;
    return best !== undefined && best.to >= to ? best.rule : undefined;
  }
}
