// Which hosts a gateway is on: the best of those that lead to its network by a hash of port and host, so that gateways are spread, each host's
// coming and going moves only its own, and whoever computes it finds the same.

/** So many hosts stand for each other; one more while all of these are being drained. */
export const HOSTS_MAX = 3;

const NONE: ReadonlySet<string> = new Set();

/** Highest random weight: of `hosts` the best for `key`, best first, `preferred` ones before others; `most`: so many of them. */
export function rank(key: string, hosts: readonly string[], preferred = NONE, most = HOSTS_MAX): string[] {
  const weighed = hosts.map((host) => ({ host, weight: weightOf(`${key} ${host}`) }));
  return weighed.sort((a, b) => Number(preferred.has(b.host)) - Number(preferred.has(a.host)) || b.weight - a.weight || (a.host < b.host ? -1 : 1)).slice(0, most).map(({ host }) => host);
}

/** The same, and where all of these are being drained the best of the others behind them: somebody has to be there to take over. */
export function place(key: string, hosts: readonly string[], isDrained: (host: string) => boolean, preferred = NONE): string[] {
  const chosen = rank(key, hosts, preferred);
  if (chosen.length < HOSTS_MAX || !chosen.every(isDrained)) return chosen;
  const next = rank(key, hosts, preferred, hosts.length).slice(HOSTS_MAX).find((host) => !isDrained(host));
  return next === undefined ? chosen : [...chosen, next];
}

/** FNV-1a, and the last steps of MurmurHash3, so that every bit of the text counts in every bit of the number. */
function weightOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
