// What hosts serve of a resource, as agents of a type: the role of hosts, the agents of a row, and the rows of an agent. Where that follows from where
// ports are there is nothing to schedule: what would is refused, and says why.
import { chassisTable, derivation, each, extendResource, type App, type LiveView, type ResourceHandle, type Row, type Values } from "#app";
import { agentId, agentResource, hostRoleTable, type Agent, type HostRole } from "./hosts.ts";

export interface Served<R extends Row> {
  /** The app's name. */
  readonly app: string;
  /** As in paths: `<kind>-agents` of a row, `<kind>-<resource>s` of an agent. */
  readonly kind: string;
  readonly agentType: string;
  /** What does it on a host. */
  readonly binary: string;
  /** What is said of an agent of another type: a 404. */
  readonly notOne: (agent: string) => Error;
  readonly resource: ResourceHandle<R>;
  /** What the answers are: of an agent, of a row; and why there is nothing to choose. */
  readonly about: { readonly rows: string; readonly agents: string; readonly refused: string };
  /** Ids of the rows that a host serves, in order. */
  readonly rowsOn: (view: LiveView, host: string) => Iterable<string>;
  /** Hosts that serve a row, in any order, each with what its agent shows beside. */
  readonly hostsOf: (view: LiveView, id: string) => Iterable<readonly [host: string, beside?: Values]>;
  readonly refusal: (id: string, agent: string) => Error;
}

const ADMIN = "rule:admin_only";
const byHost = ([a]: readonly [string, Values?], [b]: readonly [string, Values?]): number => (a < b ? -1 : 1);

/** Every host has the role. */
export function servedBy<R extends Row>({ app, kind, agentType, binary, notOne, resource, about, rowsOn, hostsOf, refusal }: Served<R>): Required<Pick<App, "derive" | "extend">> {
  const [one, many, attribute] = [`${kind}-${resource.name}`, `${kind}-${resource.name}s`, `${resource.name}_id`];
  /** @throws ApiError 404 */
  const checkType = ({ id, agent_type }: Agent): void => {
    if (agent_type !== agentType) throw notOne(id);
  };
  const ofAgent = extendResource(agentResource, {
    actions: {
      [`get_${many}`]: {
        method: "GET", path: many, about: about.rows, policy: ADMIN, lists: resource,
        rows(view, agent) {
          checkType(agent);
          return Array.from(rowsOn(view, agent.host), (id) => [id] as const);
        },
      },
      [`create_${one}`]: {
        method: "POST", path: many, status: 201, about: about.refused, policy: ADMIN, check: { dict: { [attribute]: { check: { type: "uuid" }, required: true } } }, answers: {},
        run(_tx, agent, body, ctx) {
          checkType(agent);
          throw refusal(ctx.visible(resource, body[attribute] as string).id, agent.id);
        },
      },
      [`delete_${one}`]: {
        method: "DELETE", path: `${many}/{${attribute}}`, status: 204, about: "Refused likewise.", policy: ADMIN,
        run(_tx, agent, _body, ctx, path) {
          checkType(agent);
          throw refusal(ctx.visible(resource, path[attribute]!).id, agent.id);
        },
      },
    },
  });
  const ofRow = extendResource<Row>(resource, {
    actions: {
      [`get_${kind}-agents`]: {
        method: "GET", path: `${kind}-agents`, about: about.agents, policy: ADMIN, lists: agentResource,
        rows: (view, { id }) => [...hostsOf(view, id)].sort(byHost).map(([host, beside]) => [agentId(host, agentType), beside] as const),
      },
    },
  });
  const role = derivation({
    name: `${kind}-host`,
    on: each(chassisTable),
    into: hostRoleTable,
    reads: [],
    derive: ({ id }): HostRole => ({ id: `${app}/${id}`, chassis: id, agent_type: agentType, binary }),
  });
  return { extend: [ofAgent, ofRow], derive: [role] };
}
