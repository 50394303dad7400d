// A resource keyed by project with actions on its collection, a computed one that can only be read, and what the first means for ports.
import { badRequest, chassisTable, conflict, defineResource, extendResource, type Alias, type ReadView } from "#app";
import { attachmentTable, portResource, portTable } from "../../../../apps/l2/model.ts";
import { allowanceResource, allowanceTable, hostLoadResource, INITIAL_PORTS, type Allowance, type HostLoad } from "./model.ts";

const allowanceOf = (view: ReadView, project: string): Allowance => view.get(allowanceTable, project) ?? { id: project, project_id: project, ports: INITIAL_PORTS };

const allowance = defineResource(allowanceResource, {
  collection: "allowances",
  about: "How many ports a project may have.",
  alias: "allowance",
  table: allowanceTable,
  standard: [],
  keyed: { initial: (view, project) => allowanceOf(view, project) },
  notFound: { type: "AllowanceNotFound", message: (id) => `Allowance of ${id} could not be found.` },
  attributes: {
    project_id: { type: "string", about: "Whose.", filter: true, index: "project" },
    ports: { type: "integer", about: "Ports; -1 is any number.", put: true, check: { range: [-1, 100_000] }, filter: true, sort: true },
  },
  policy: { get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: "rule:admin_only", delete: "rule:admin_only" },
  update(tx, row, changes) {
    const after: Allowance = { ...row, ports: (changes.ports as number | undefined) ?? row.ports };
    tx.put(allowanceTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(allowanceTable, row.id);
  },
  collectionActions: {
    summary: {
      about: "How many were set, and how many ports they allow together.", method: "GET", policy: "rule:admin_only", rule: "get_allowance_summary",
      read(view) {
        const all = [...view.all(allowanceTable)];
        return { summary: { allowances: all.length, ports: all.reduce((sum, { ports }) => sum + Math.max(0, ports), 0), unlimited: all.filter(({ ports }) => ports < 0).length } };
      },
    },
    reset: {
      about: "All go back to the initial one.", method: "POST", policy: "rule:admin_only", rule: "reset_allowances", check: { dict: { sure: { check: { type: "boolean" }, required: true } } },
      run(tx, body) {
        if (body.sure !== true) throw badRequest("'sure' is not true");
        const all = [...tx.all(allowanceTable)];
        for (const { id } of all) tx.delete(allowanceTable, id);
        return { reset: all.length };
      },
    },
  },
});

const loadOf = (view: ReadView, host: string): HostLoad => ({ id: host, ports: view.count(attachmentTable, "chassis", host) });

const hostLoad = defineResource(hostLoadResource, {
  collection: "host_loads",
  about: "How many ports are attached to a host.",
  alias: "allowance",
  standard: [],
  computed: {
    list: (view) => [...view.all(chassisTable)].map(({ id }) => loadOf(view, id)),
    get: (view, id) => (view.get(chassisTable, id) === undefined ? undefined : loadOf(view, id)),
  },
  notFound: { type: "HostLoadNotFound", message: (id) => `Host ${id} could not be found.` },
  attributes: {
    id: { type: "string", about: "Chassis.", filter: true, sort: true },
    ports: { type: "integer", about: "Attached ports.", filter: true, sort: true },
  },
  policy: { get: "rule:admin_only" },
});

const limit = extendResource(portResource, {
  create(tx, port): void {
    const { ports } = allowanceOf(tx, port.project_id);
    if (ports >= 0 && tx.count(portTable, "project", port.project_id) > ports) throw conflict("OverQuota", "Quota exceeded for resources: ['port'].");
  },
});

export const resources = [allowance, hostLoad];
export const extend = [limit];
export const aliases: readonly Alias[] = [{ alias: "allowance", name: "Allowance", description: "How many ports a project may have", updated: "2026-01-01T00:00:00-00:00" }];
