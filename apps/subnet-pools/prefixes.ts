// Sets of prefixes of one family, in their one form: ascending, each as short as it can be.
import { bitsOf, lastIp, overlap, type Cidr } from "#app";

const cidr = (family: 4 | 6, network: bigint, prefix: number): Cidr => ({ family, address: network, network, prefix });

/** The two halves. */
export function halves({ family, network, prefix }: Cidr): readonly [Cidr, Cidr] {
  return [cidr(family, network, prefix + 1), cidr(family, network + (1n << BigInt(bitsOf(family) - prefix - 1)), prefix + 1)];
}

/** The prefix of that length that it begins with, or is part of. */
export function resized({ family, network }: Cidr, prefix: number): Cidr {
  const rest = BigInt(bitsOf(family) - prefix);
  return cidr(family, (network >> rest) << rest, prefix);
}

/** Whether all of `inner` is in `outer`. */
export const holds = (outer: Cidr, inner: Cidr): boolean => outer.prefix <= inner.prefix && resized(inner, outer.prefix).network === outer.network;

export const same = (a: Cidr, b: Cidr): boolean => a.network === b.network && a.prefix === b.prefix;

/** What is part of another is left out, halves are put together. */
export function compact(prefixes: readonly Cidr[]): Cidr[] {
  const out: Cidr[] = [];
  const ascending = prefixes.toSorted((a, b) => (a.network < b.network ? -1 : a.network > b.network ? 1 : a.prefix - b.prefix));
  for (const { family, network, prefix } of ascending) {
    let next = cidr(family, network, prefix);
    const before = out.at(-1);
    if (before !== undefined && next.network <= lastIp(before)) continue;
    for (let low = out.at(-1); low !== undefined && next.prefix > 0; low = out.at(-1)) {
      const whole = resized(low, next.prefix - 1);
      if (low.prefix !== next.prefix || !holds(whole, next)) break;
      out.pop();
      next = whole;
    }
    out.push(next);
  }
  return out;
}

/** What is left of `from` without `taken`. */
function without(from: Cidr, taken: Cidr): Cidr[] {
  if (!overlap(from, taken)) return [from];
  if (holds(taken, from)) return [];
  return halves(from).flatMap((half) => without(half, taken));
}

export function subtract(prefixes: readonly Cidr[], taken: readonly Cidr[]): Cidr[] {
  let left = [...prefixes];
  for (const t of taken) left = left.flatMap((prefix) => without(prefix, t));
  return compact(left);
}
