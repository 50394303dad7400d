// What the demo is asked for on its command line.

export const ENCAPS = ["geneve", "vxlan", "gre"] as const;
export const UNDERLAYS = ["ipv4", "ipv6"] as const;

export interface DemoOptions {
  readonly check: boolean;
  /** Three controllers over three etcd, and another story. */
  readonly cluster: boolean;
  readonly encap: (typeof ENCAPS)[number];
  readonly underlay: (typeof UNDERLAYS)[number];
}

/** A command line that is not understood. */
export class UsageError extends Error {}

export const USAGE = `npm run demo [-- FLAGS]

Three hypervisors on this machine, a controller, two tenants with the same addresses, an outside with a web server, and the
proof by packets of who reaches whom.

  --check                   end when every check is made: exit 0 only if all held (default: stay until Ctrl-C)
  --cluster                 three controllers over three etcd instead, one of which is killed while VMs ping each other
  --encap geneve|vxlan|gre  how hosts tunnel to each other (default geneve)
  --underlay ipv4|ipv6      what the tunnels run over (default ipv4)
  --help                    this text
`;

/** @throws UsageError */
export function parseOptions(argv: readonly string[]): DemoOptions | "help" {
  let check = false;
  let cluster = false;
  let encap: DemoOptions["encap"] = "geneve";
  let underlay: DemoOptions["underlay"] = "ipv4";
  const words = [...argv];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [, flag, given] = /^([^=]*)(?:=(.*))?$/s.exec(word)!;
    if (word === "--help" || word === "-h") return "help";
    else if (word === "--check") check = true;
    else if (word === "--cluster") cluster = true;
    else if (flag === "--encap") encap = choice(flag, given ?? words.shift(), ENCAPS);
    else if (flag === "--underlay") underlay = choice(flag, given ?? words.shift(), UNDERLAYS);
    else throw new UsageError(`no such flag: ${word} (npm run demo -- --help)`);
  }
  if (cluster && underlay === "ipv6") throw new UsageError("--cluster has an underlay of IPv4");
  return { check, cluster, encap, underlay };
}

function choice<T extends string>(flag: string, value: string | undefined, choices: readonly T[]): T {
  const found = choices.find((one) => one === value);
  if (found === undefined) throw new UsageError(`${flag} is one of ${choices.join(", ")}, not ${value ?? "nothing"}`);
  return found;
}
