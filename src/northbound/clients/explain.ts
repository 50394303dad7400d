// GET /v2.0/axion/explain: what becomes of a packet of one of the caller's ports, in words of what the caller may see. Switches, flows and resources of
// others are not named: not where a packet went, nor why it ended there.
import { ApiError, invalidInput, notFound, type Caller, type StandardRow, type Values } from "../../app/contract.ts";
import type { View } from "../../model/view.ts";
import type { Registry } from "../kinds.ts";
import { wrongMethod } from "../routes.ts";
import { Places } from "./places.ts";

interface Named {
  readonly type: string;
  readonly id: string;
  readonly name?: string;
}
/** A way of a packet, as a trace has it. */
export interface TracedWay {
  readonly verdict: "delivered" | "dropped" | "unknown";
  readonly delivered: readonly { readonly id?: string }[];
  readonly hops: readonly { readonly table: string; readonly app: string; readonly rule: string; readonly resources: readonly Named[] }[];
  readonly cause: { readonly reason: string; readonly text: string; readonly resources: readonly Named[]; readonly cure: { readonly text: string; readonly call?: unknown } } | null;
}
/** Traces a packet. @throws ApiError for what cannot be asked */
export type Explain = (asked: Readonly<Record<string, unknown>>) => Promise<TracedWay & { readonly answer: TracedWay | null }>;

const KNOWN = ["from", "to", "protocol", "port"] as const;
/** Traces of all tenants, and of one, at a time: each asks switches. */
const AT_ONCE = { all: 8, ofProject: 2 };
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
/** Reasons that are the tenants' to know, and to mend, where all that they name is to be seen. */
const OPEN: ReadonlySet<string> = new Set(["security_group", "port_security", "admin_state_down", "not_plugged", "unknown_address", "elsewhere", "no_gateway", "no_route", "unresolved", "not_served", "no_dhcp", "mtu", "ttl"]);
/** Those of hosts and switches. */
const OPERATORS: ReadonlySet<string> = new Set(["wrong_host", "not_connected", "tunnel_down", "port_closed", "missing_flow", "foreign_flow"]);

const tooMany = (): ApiError => new ApiError(503, "ServiceUnavailable", "Too many packets are explained at this time.", 1);

export class Explanations {
  private readonly registry: Registry;
  private readonly view: View;
  private readonly explain: Explain | undefined;
  private readonly places = new Places(AT_ONCE, { full: tooMany, ofProject: tooMany });

  constructor(registry: Registry, view: View, explain: Explain | undefined) {
    this.registry = registry;
    this.view = view;
    this.explain = explain;
  }

  /** @throws ApiError */
  async of(method: string, { query, caller }: { readonly query: URLSearchParams; readonly caller: Caller }): Promise<object> {
    if (method !== "GET") throw wrongMethod();
    if (this.explain === undefined) throw new ApiError(503, "ServiceUnavailable", "There are no switches to ask.");
    const asked = this.read(query);
    const [from, to] = [asked.from!, asked.to!];
    const sender = this.port(from, caller);
    if (sender === undefined || !(caller.admin || sender.project_id === caller.projectId)) throw notFound("PortNotFound", `Port ${from.slice(0, 64)} could not be found.`);
    if (!/^[0-9a-f:.]+$/i.test(to) && this.port(to, caller) === undefined) throw notFound("PortNotFound", `Port ${to.slice(0, 64)} could not be found.`);
    const leave = this.places.enter(caller);
    try {
      const { answer, ...way } = await this.explain({ ...asked, ...(asked.port !== undefined && { port: Number(asked.port) }) });
      return { explanation: { ...this.shown(way, caller), answer: answer === null ? null : this.shown(answer, caller) } };
    } finally {
      leave();
    }
  }

  private read(query: URLSearchParams): Partial<Record<(typeof KNOWN)[number], string>> {
    const asked: Partial<Record<string, string>> = {};
    for (const [name, value] of query) {
      if (!(KNOWN as readonly string[]).includes(name)) throw invalidInput(`'${name.slice(0, 64)}' is not known here; there are ${KNOWN.join(", ")}`);
      if (asked[name] !== undefined) throw invalidInput(`${name} is given twice`);
      asked[name] = value;
    }
    for (const name of ["from", "to"]) if (asked[name] === undefined || asked[name] === "") throw invalidInput(`${name} is missing`);
    if (asked.port !== undefined && !/^\d{1,5}$/.test(asked.port)) throw invalidInput("port is no number from 1 to 65535");
    return asked;
  }

  private port(id: string, caller: Caller): StandardRow | undefined {
    return this.seen("port", id, caller);
  }

  private seen(type: string, id: string, caller: Caller): StandardRow | undefined {
    const kind = this.registry.kinds.get(type);
    const row = kind === undefined ? undefined : (this.view.get(kind.table, id) as StandardRow | undefined);
    return row !== undefined && kind!.get.allows(caller, { row: row as unknown as Values }, this.view) ? row : undefined;
  }

  /** The cause with a call that names nothing but what the caller sees. */
  private told({ cure, ...cause }: NonNullable<TracedWay["cause"]>, caller: Caller): object {
    const named = JSON.stringify(cure.call ?? null).match(UUID) ?? [];
    const seen = named.every((id) => [...this.registry.kinds.keys()].some((type) => this.seen(type, id, caller) !== undefined));
    return { ...cause, cure: seen ? cure : { text: cure.text } };
  }

  private shown({ verdict, delivered, hops, cause }: TracedWay, caller: Caller): object {
    const visible = (resources: readonly Named[]): readonly Named[] => resources.filter(({ type, id }) => this.seen(type, id, caller) !== undefined);
    return {
      verdict,
      delivered: delivered.flatMap(({ id }) => (id !== undefined && this.port(id, caller) !== undefined ? [{ id }] : [])),
      hops: hops.flatMap(({ table, app, rule, resources }) => {
        const own = visible(resources);
        return own.length === 0 ? [] : [{ table, app, rule, resources: own }];
      }),
      cause: cause === null ? null : OPERATORS.has(cause.reason) ? FAULT : OPEN.has(cause.reason) && cause.resources.length > 0 && visible(cause.resources).length === cause.resources.length ? this.told(cause, caller) : BEYOND,
    };
  }
}

const FAULT = { reason: "network_fault", text: "a fault of the network itself", resources: [], cure: { text: "its operator has to mend it" } };
const BEYOND = { reason: "beyond", text: "it ends where the project sees nothing, or nothing that it sees says why", resources: [], cure: { text: "ask whose the other side is, or the operator" } };
