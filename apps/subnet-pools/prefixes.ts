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

/** Whether all of the one set is in the other, both in their one form: then each prefix is in a single one. */
export const within = (inner: readonly Cidr[], outer: readonly Cidr[]): boolean => inner.every((i) => outer.some((o) => holds(o, i)));

/** What is left without `taken`, both in their one form. A few taken may leave very many: it ends with one more than `most`. */
export function subtract(prefixes: readonly Cidr[], taken: readonly Cidr[], most = Infinity): Cidr[] {
  const left: Cidr[] = [];
  const keep = (node: Cidr, without: readonly Cidr[]): void => {
    if (left.length > most) return;
    const here = without.filter((t) => overlap(node, t));
    if (here.length === 0) left.push(node);
    else if (!here.some((t) => holds(t, node))) for (const half of halves(node)) keep(half, here);
  };
  for (const prefix of prefixes) keep(prefix, taken);
  return left;
}
