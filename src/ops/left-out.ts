// What rules want and no switch gets, as GET /problems shows it: what has no form in a message, what fails, what two disagree on.
import type { Clock } from "#app";
import type { Engine } from "../compiler/engine.ts";
import type { Problem } from "../lib/problem.ts";

/** Of what rules disagree on; more are not shown. */
const MOST = 100;

/** What no switch gets, though rules want it. */
export class CompilerProblems {
  private readonly engine: Pick<Engine, "failures" | "conflicts">;
  private readonly clock: Pick<Clock, "now">;
  private readonly tableName: (id: number) => string | undefined;
  /** When each that is there was first found. */
  private found = new Map<string, string>();

  constructor(engine: Pick<Engine, "failures" | "conflicts">, clock: Pick<Clock, "now">, tableName: (id: number) => string | undefined) {
    this.engine = engine;
    this.clock = clock;
    this.tableName = tableName;
  }

  now(): Problem[] {
    const found = new Map<string, string>();
    const now = new Date(this.clock.now()).toISOString();
    const since = (text: string): string => {
      const first = this.found.get(text) ?? now;
      found.set(text, first);
      return first;
    };
    const { failures, conflicts } = this.engine;
    const leftOut = failures.map(({ app, unit, derives, count, reason, noForm, resources }): Problem => ({
      kind: "flows_left_out", severity: "error", since: since(`${app}/${unit}`), switches: [], resources: resources.map(({ type, id }) => ({ type, id })),
      text: `${derives ? "derivation" : "rule"} ${unit} of ${app} fails for ${count === 1 ? "one entity" : `${count} entities`}, what it makes of ${count === 1 ? "it" : "them"} is left out on every switch: ${reason}`,
      cure: {
        text: noForm ? "what these resources list makes a flow or group that no message to a switch can hold: make it less (fewer members, addresses, routes or rules, or spread over several resources); axion history --resource ID says what made it so much"
          : `a fault of the app ${app}: report it, with the controller's log of it ("a ${derives ? "derivation" : "rule"} failed"); axion history --resource ID says after which change`,
      },
    }));
    const disputed = conflicts.slice(0, MOST).map((conflict): Problem => {
      const what = "output" in conflict ? conflict.output : `a flow of table ${this.tableName(conflict.table) ?? conflict.table} in ${conflict.scope}`;
      return {
        kind: "flows_disputed", severity: "error", since: since(`${what} ${conflict.first} ${conflict.second}`), switches: [], resources: [],
        text: `${what} is as ${conflict.first} wants it, and not: ${conflict.second}`,
        cure: { text: "conjunctions that one flow does not hold: let fewer remote groups or address groups have that address, or fewer rules name them. Two rules that differ: a fault of their apps, report it" },
      };
    });
    this.found = found;
    return [...leftOut, ...disputed];
  }
}
