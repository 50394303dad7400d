// `axion status` and `axion switches`: is it well, and which hosts are there.
import type { Call } from "../call.ts";
import { cell, record, table } from "../table.ts";
import { UsageError } from "../../lib/usage-error.ts";

interface Switch {
  readonly id?: unknown;
  readonly state?: unknown;
  readonly role?: unknown;
  readonly master?: unknown;
  readonly database?: unknown;
  readonly ovs_version?: unknown;
  readonly encap_ip?: unknown;
  readonly encap_types?: unknown;
  readonly flows?: Readonly<Record<string, unknown>>;
  readonly last_error?: unknown;
}

const objects = (body: unknown, name: string): readonly Record<string, unknown>[] => {
  const list = (body as Record<string, unknown> | null)?.[name];
  return Array.isArray(list) ? list.filter((item): item is Record<string, unknown> => typeof item === "object" && item !== null) : [];
};

/** Samples of a metric in Prometheus's text: labels and value. */
function samples(text: string, name: string): { readonly labels: Readonly<Record<string, string>>; readonly value: number }[] {
  return [...text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, "gm"))].map(([, labels = "", value]) => ({
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label!, text!])),
    value: Number(value),
  }));
}

const FLOWS = ["desired", "installed", "pending", "quarantined"] as const;

/** Exit code 1 when the controller is there and not ready. */
export async function status({ api, json, write }: Call): Promise<number> {
  await api.get("/healthz");
  const [readiness, metrics, listed, cluster] = await Promise.all([api.get("/readyz", {}, [503]), api.readText("/metrics"), api.get("/switches"), api.get("/cluster", {}, [404])]);
  const ready = readiness.status === 200;
  const reason = (readiness.body as { reason?: unknown } | null)?.reason;
  const switches = objects(listed.body, "switches") as readonly Switch[];
  const members = objects(cluster.body, "members");
  const lease = (cluster.body as { lease?: unknown } | null)?.lease;
  const value = (name: string): number | null => samples(metrics, name)[0]?.value ?? null;
  const count = (state: string): number => switches.filter((s) => s.state === state).length;
  const states = { total: switches.length, connected: count("connected"), syncing: count("syncing"), held: count("held"), ...(members.length > 0 && { standby: count("standby") }), disconnected: count("disconnected") };
  const flows = Object.fromEntries(FLOWS.map((name) => [name, switches.reduce((sum, s) => sum + (Number(s.flows?.[name]) || 0), 0)])) as Record<(typeof FLOWS)[number], number>;
  const info = samples(metrics, "axion_info")[0]?.labels;
  const all = {
    url: api.url, name: info?.name ?? null, version: info?.version ?? null, ready, reason: ready ? null : (reason ?? null),
    generation: value("axion_generation"), compiled_generation: value("axion_compiled_generation"), switches: states, flows,
    ...(members.length > 0 && { lease, members }),
  };
  if (json) await write(`${JSON.stringify(all)}\n`);
  else {
    const counts = (of: Readonly<Record<string, number>>): string => Object.entries(of).map(([name, n]) => `${n} ${name}`).join(", ");
    await write(record({
      controller: `${cell(all.name)}, version ${cell(all.version)}, at ${api.url}`,
      ready: ready ? "yes" : `no: ${cell(reason)}`,
      generation: `${cell(all.generation)}, compiled ${cell(all.compiled_generation)}`,
      switches: counts(states),
      ...(states.held > 0 && { held: `${switches.filter((s) => s.state === "held").slice(0, 10).map((s) => cell(s.id)).join(", ")}${states.held > 10 ? " and others" : ""}: what is stored would remove much of what they have; axion problems says more` }),
      flows: counts(flows),
      ...(members.length > 0 && { members: `${members.map((m) => `${cell(m.name)} (${cell(m.state)}, master of ${cell(m.switches)})`).join(", ")}${lease === false ? "; this one has no lease" : ""}` }),
    }));
  }
  return ready ? 0 : 1;
}

export async function switches({ api, json, write }: Call, id: string | undefined): Promise<number> {
  if (id === "") throw new UsageError("the switch's id is empty");
  const { body } = await api.get(id === undefined ? "/switches" : `/switches/${encodeURIComponent(id)}`);
  if (json) await write(`${JSON.stringify(body)}\n`);
  else if (id !== undefined) await write(record((body as { switch?: Record<string, unknown> }).switch ?? {}));
  else {
    const all = objects(body, "switches") as readonly Switch[];
    // Alone it is the same for all.
    const shared = all.some((s) => s.role !== "equal");
    const rows = all.map((s) => [s.id, s.state, ...(shared ? [s.master ?? ""] : []), s.database, s.ovs_version, s.encap_ip, s.encap_types, ...FLOWS.map((name) => s.flows?.[name]), s.last_error]);
    await write(rows.length === 0 ? "no switches\n" : table(["SWITCH", "STATE", ...(shared ? ["MASTER"] : []), "DATABASE", "OVS", "ENCAP IP", "ENCAP", "DESIRED", "INSTALLED", "PENDING", "QUARANTINED", "LAST ERROR"], rows));
  }
  return 0;
}
