// Which hosts have which roles, and the agents that are stored for them: they are rows of their own, since they keep what an administrator says and since when they are.
import { chassisTable, derivation, each, hostSessionsTable, learned, timestampOf, type RowChange, type ServiceDecl, type ServiceHost, type Tx } from "#app";
import { agentId, agentTable, heartbeatTable, hostRoleTable, isAlive, OVS_AGENT, type HostRole } from "./hosts.ts";

export const derive = [
  derivation({
    name: "host-of-switch",
    on: each(chassisTable),
    into: hostRoleTable,
    reads: [],
    derive: ({ id }): HostRole => ({ id: `agents/${id}`, chassis: id, agent_type: OVS_AGENT, binary: "ovs-vswitchd" }),
  }),
];

/** Seconds between looks at who is alive: clients take an agent for dead after 75 without one. */
const BEAT_S = 30;

export const agentsOfRoles: ServiceDecl = {
  name: "agents-of-roles",
  about: "an agent in the API for each role of a host, and when it was last seen alive",
  start(host) {
    const store = keeper(host);
    host.onCommit([hostRoleTable], (changes: readonly RowChange[]) => store(changes.flatMap(({ before, after }) => [before, after].flatMap((r) => (r === undefined ? [] : [(r as HostRole).chassis])))));
    host.onCommit([chassisTable], (changes) => host.forget(heartbeatTable, changes.flatMap(({ id, after }) => (after === undefined ? [id] : []))));
    // What came and went while no controller was there.
    host.after(0, () => store([...[...host.view.all(chassisTable)].map((c) => c.id), ...[...host.view.all(agentTable)].map((a) => a.host)]));
    host.every(BEAT_S, () => beat(host));
    return undefined;
  },
};

/** Makes the agents of hosts those of their roles. */
function keeper(host: ServiceHost): (chassis: Iterable<string>) => Promise<void> {
  return async (chassis) => {
    const wanted = new Map<string, readonly HostRole[]>();
    for (const id of new Set(chassis)) wanted.set(id, host.view.by(hostRoleTable, "chassis", id));
    if ([...wanted].every(([id, roles]) => isKept(host.view.by(agentTable, "host", id), roles))) return;
    await host.transact(`agents of ${wanted.size === 1 ? [...wanted.keys()][0]! : `${wanted.size} hosts`}`, (tx) => {
      for (const [id, roles] of wanted) put(tx, id, roles);
    });
  };
}

const isKept = (agents: readonly { readonly agent_type: string; readonly binary: string }[], roles: readonly HostRole[]): boolean =>
  agents.length === roles.length && roles.every((r) => agents.some((a) => a.agent_type === r.agent_type && a.binary === r.binary));

function put(tx: Tx, host: string, roles: readonly HostRole[]): void {
  const types = new Set(roles.map((r) => r.agent_type));
  for (const agent of tx.by(agentTable, "host", host)) if (!types.has(agent.agent_type)) tx.delete(agentTable, agent.id);
  for (const { agent_type, binary } of roles) {
    const id = agentId(host, agent_type);
    const before = tx.get(agentTable, id);
    if (before?.binary !== binary) tx.put(agentTable, { id, host, agent_type, binary, created: before?.created ?? tx.now, description: before?.description ?? null });
  }
}

function beat(host: ServiceHost): void {
  const at = timestampOf(host.clock.now());
  host.learn(host.view.facts(hostSessionsTable).filter(({ id }) => isAlive(host.view, id)).map(({ id }) => learned(heartbeatTable, id, { id, at })));
}
