// Does every check of a topology's rows, many at once, and says which did not come out as its row has it. What is sent bears a token, and every guest looks
// for those in all that it gets: so what crosses to somebody else is found even if nobody answers it.
import { until } from "../../../lab/exec.ts";
import { ALONE, checksOf, type Check } from "./topology.ts";
import { ECHO_PORT, type Member, type World } from "./world.ts";
import type { Answer } from "./guest-agent.ts";

/** At once: guests wait more than they work. */
const PARALLEL = 24;
const POSITIVE = { wait: 5, interval: 0.25 };
/** Long enough for three tries, each with time for an answer on a busy machine. */
const NEGATIVE = { wait: 1.2, interval: 0.4 };

/** The controller answers these itself: errors of routers, and DHCP. */
const BY_CONTROLLER: readonly Check["probe"][] = ["trace", "mtu", ...ALONE];

export interface Outcome {
  readonly check: Check;
  /** Why it is red; undefined: as its row says. */
  readonly wrong: string | undefined;
}

export interface MatrixResult {
  readonly outcomes: readonly Outcome[];
  /** Red ones, as lines. */
  readonly red: readonly string[];
  /** Packets to a guest that were sent again until one was answered. */
  readonly again: number;
  readonly ms: number;
}

export const nameOf = ({ from, to, by, port, probe, six, reaches }: Check): string =>
  `${from}${ALONE.includes(probe) ? "" : ` > ${to}`}${by === undefined ? "" : `@${by}`}${port === undefined ? "" : `:${port}`}: ${reaches ? "" : "not "}${probe}${six ? "6" : ""}`;

/** `controller`: whether one runs; what it answers itself is left out otherwise. */
export async function runMatrix(world: World, { controller = true }: { controller?: boolean } = {}): Promise<MatrixResult> {
  const began = performance.now();
  const checks = world.topology.rows.flatMap((row) => checksOf(world.topology, row)).filter((c) => controller || !BY_CONTROLLER.includes(c.probe));
  const outcomes: { check: Check; wrong: string | undefined; token: string }[] = [];
  let again = 0;
  for (const { agent } of world.members.values()) await agent.ask("heard");
  // Who has no address yet gets one first. What a guest has learned is forgotten by these: of a neighbour, under which nothing else may be waiting for it, and of
  // all paths.
  const apart = [...ALONE, "neighbour", "mtu"];
  const of = (...probes: readonly string[]): Check[] => checks.filter((c) => probes.includes(c.probe));
  const rounds = [of(...ALONE), of("neighbour"), checks.filter((c) => !apart.includes(c.probe)), ...byGuest(of("mtu"))];
  let number = Math.floor(Math.random() * 0xffff) << 14;
  for (const round of rounds) await inParallel(round, async (check) => {
    const token = (number++ >>> 0).toString(16).padStart(8, "0");
    const { wrong, answer } = await outcomeOf(world, check, token);
    if (check.reaches) again += Math.max(0, (answer.sent ?? 1) - 1);
    outcomes.push({ check, wrong, token });
  });
  const heard = new Map<string, string[]>();
  for (const member of world.members.values()) for (const token of (await member.agent.ask("heard")).tokens ?? []) heard.set(token, [...(heard.get(token) ?? []), member.name]);
  const judged = outcomes.map(({ check, wrong, token }) => ({ check, wrong: [wrong, crossed(world, check, heard.get(token) ?? [])].filter((w) => w !== undefined).join("; ") || undefined }));
  return { outcomes: judged, again, red: judged.flatMap(({ check, wrong }) => (wrong === undefined ? [] : [`${nameOf(check)} (${check.row}): ${wrong}`])), ms: Math.round(performance.now() - began) };
}

/** Whom it came to that it was not for. Machines are left out: physical switches flood. */
function crossed(world: World, { from, to, reaches }: Check, heard: readonly string[]): string | undefined {
  const others = heard.filter((name) => name !== from && (name !== to || !reaches) && world.members.get(name)!.host !== undefined);
  return others.length === 0 ? undefined : `arrived at ${others.join(", ")}`;
}

async function outcomeOf(world: World, check: Check, token: string): Promise<{ wrong: string | undefined; answer: Answer }> {
  try {
    const from = world.members.get(check.from)!;
    if (ALONE.includes(check.probe)) return { wrong: await configured(from, check), answer: {} };
    const to = world.address(check.by ?? check.to, check.six);
    const answer = await from.agent.ask(check.probe, {
      to, token, ...(check.reaches ? POSITIVE : NEGATIVE), ...(check.probe === "trace" && { wait: 2 }), ...(["tcp", "udp", "mtu"].includes(check.probe) && { port: check.port ?? ECHO_PORT }),
    });
    return { wrong: wrongOf(world, check, to, answer), answer };
  } catch (error) {
    return { wrong: (error as Error).message, answer: {} };
  }
}

function wrongOf(world: World, check: Check, to: string, answer: Answer): string | undefined {
  const said = JSON.stringify(answer);
  const is = (got: unknown, wanted: unknown, what: string): string | undefined => (JSON.stringify(got) === JSON.stringify(wanted) ? undefined : `${what} ${JSON.stringify(wanted)} is wanted, not ${said}`);
  const addressOf = (name: string): string => world.address(name, check.six);
  switch (check.probe) {
    case "neighbour":
      return check.reaches ? is(answer.mac, world.members.get(check.to)!.mac, "MAC") : is(answer.mac, "", "MAC");
    case "trace":
      return is(answer.hops, check.expected.map(addressOf), "a path of");
    case "mtu":
      return is(answer.mtus?.at(-1), Number(check.expected[0]), "MTU");
    default: {
      if (!check.reaches) return answer.answered === undefined ? undefined : `answered: ${said}`;
      if (answer.answered === undefined) return `no answer: ${said}`;
      if (check.probe === "ping") return is(answer.answered, to, "an answer of");
      return is(answer.answered, check.to, "an answer of") ?? is(answer.as, addressOf(check.as ?? check.from), "a sender") ?? is(answer.token, true, "what was sent:");
    }
  }
}

async function configured({ name, guest, addresses }: Member, { probe }: Check): Promise<string | undefined> {
  if (probe === "slaac") {
    const own = `${addresses.find((ip) => ip.includes(":"))!}/64`;
    await until(`${own} and a router`, async () => (await guest.addresses()).includes(own) && (await guest.exec(["ip", "-6", "route", "show", "default"])).stdout.includes("via fe80"), { timeoutMs: 15_000, intervalMs: 100 });
    return undefined;
  }
  const { ip } = await guest.dhcp();
  return addresses.includes(ip) ? undefined : `${ip} is not of ${name}'s port: ${addresses.join(" ")}`;
}

/** Rounds in which each guest has one. */
function byGuest(checks: readonly Check[]): Check[][] {
  const rounds: Check[][] = [];
  const count = new Map<string, number>();
  for (const check of checks) {
    const at = count.get(check.from) ?? 0;
    count.set(check.from, at + 1);
    (rounds[at] ??= []).push(check);
  }
  return rounds;
}

async function inParallel<T>(list: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = list.values();
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    for (const item of queue) await work(item);
  }));
}
