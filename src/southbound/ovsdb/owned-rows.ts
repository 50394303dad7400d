// Rows of a host's database that rules want beside ports (QoS, Queue, Mirror, IPFIX, sFlow, NetFlow, Flow_Table,
// Flow_Sample_Collector_Set). Ours carry external_ids:axion-row=<key>, and hang on the integration bridge alone. Pure, as adoption.ts.
import { del, insert, map, mutate, namedUuid, set, update, uuid, type InputAtom, type Mutation, type Operation, type Replica, type Row, type Value } from "ovsdb-client";
import { ovsColumns, type OvsColumns, type OvsRef, type OvsTable } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { byUuid, differing, inputs, textOf, type Resolve } from "./columns.ts";
import { OWNED, type BridgeRow, type Ids, type PortRow } from "./host-rows.ts";
import { markOf, PORT } from "./patches.ts";
import { Draft, rowWish, unread, type WantedRows } from "./wishes.ts";

type RowTable = Exclude<OvsTable, "Port">;
const TABLES = Object.keys(ovsColumns).filter((t): t is RowTable => t !== "Port" && t !== "Interface");
/** Columns that rules may set, hence that are read back; and the bridge that a set of collectors is for. */
export const ownedColumns: Readonly<Record<RowTable, readonly string[]>> = Object.fromEntries(
  TABLES.map((t) => [t, [...Object.keys(ovsColumns[t]), ...(t === "Flow_Sample_Collector_Set" ? ["bridge"] : [])]]),
) as never;
/** Rows of these stay when nobody refers to them. */
const ROOTS: ReadonlySet<RowTable> = new Set(["QoS", "Queue", "Flow_Sample_Collector_Set"]);
/** What the bridge has one of. */
const SINGLE = { IPFIX: "ipfix", sFlow: "sflow", NetFlow: "netflow" } as const;

type AnyRow = Row & { readonly external_ids: Ids } & Readonly<Record<string, Value>>;
type Wish = DesiredRow & { readonly table: RowTable; readonly columns: OvsColumns };

export interface RowPlan {
  readonly draft: Draft;
  readonly resolve: Resolve;
}

const idOf = (table: string, key: string): string => `${table} ${key}`;

/** `portRef`: a port of any bridge by name. */
export function planRows(replica: Pick<Replica, "table">, bridge: BridgeRow, wanted: WantedRows, portRef: (name: string) => InputAtom | undefined): RowPlan {
  const draft = new Draft();
  const ours = new Map<string, AnyRow>();
  const surplus: { readonly table: RowTable; readonly row: AnyRow }[] = [];
  for (const table of TABLES) {
    for (const row of replica.table<AnyRow>(table).values()) {
      const key = row.external_ids[OWNED];
      if (key === undefined) continue;
      if (ours.has(idOf(table, key))) surplus.push({ table, row });
      else ours.set(idOf(table, key), row);
    }
  }
  /** What there is of these stays as it is. */
  const left = new Map<Wish, AnyRow>();
  const wishes: Wish[] = [];
  for (const wish of wanted.rows.filter((r): r is Wish => r.table !== "Port").sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))) {
    const problem = wanted.refused?.get(rowWish(wish)) ?? unread(wish.table, wish.columns, TABLES);
    const row = ours.get(idOf(wish.table, wish.key));
    if (problem !== undefined) draft.note(`${wish.table} ${wish.key}`, problem);
    if (problem !== undefined && row !== undefined) left.set(wish, row);
    if (problem === undefined || row !== undefined) wishes.push(wish);
  }
  const { made, exported } = possible(replica, bridge, wishes, left, draft);
  const names = new Map(made.map((r, i) => [idOf(r.table, r.key), `row${i}`]));
  const resolve: Resolve = ({ ref, key }) => {
    if (ref === "Port") return portRef(key);
    const name = names.get(idOf(ref, key));
    if (name === undefined) return undefined;
    const row = ours.get(idOf(ref, key));
    return row === undefined ? namedUuid(name) : uuid(row._uuid);
  };

  for (const wish of made) {
    if (left.has(wish)) continue;
    const { table, key, columns } = wish;
    const row = ours.get(idOf(table, key));
    const ids = { ...((columns.external_ids as Ids | undefined) ?? {}), [OWNED]: key };
    if (row === undefined) {
      const of = table === "Flow_Sample_Collector_Set" ? { bridge: uuid(bridge._uuid) } : {};
      draft.operate(rowWish(wish), insert(table, { ...inputs(table, columns, resolve), ...of, external_ids: ids }, { uuidName: names.get(idOf(table, key))! }));
      continue;
    }
    const change = differing(table, row, columns, resolve);
    if (textOf(row.external_ids) !== textOf(ids)) change.external_ids = ids;
    if (Object.keys(change).length > 0) draft.operate(rowWish(wish), update(table, byUuid(row), change));
  }

  for (const [id, row] of ours) if (!names.has(id)) surplus.push({ table: id.slice(0, id.indexOf(" ")) as RowTable, row });
  draft.operate(undefined, ...planDeletions(replica, surplus, draft), ...planHolders(replica, bridge, made, exported, resolve));
  return { draft, resolve };
}

/** What nobody refers to is deleted. Of a port that goes, or gets its own QoS back, this is so in the transaction after. */
function planDeletions(replica: Pick<Replica, "table">, surplus: readonly { readonly table: RowTable; readonly row: AnyRow }[], draft: Draft): Operation[] {
  const roots = surplus.filter(({ table }) => ROOTS.has(table));
  const deleted = new Set<AnyRow>();
  for (const { table, row } of roots) {
    const users = table !== "QoS" ? [] : [...replica.table<PortRow>("Port").values()].filter((p) => p.qos === row._uuid);
    if (users.length === 0 && table !== "Queue") deleted.add(row);
    const theirs = users.find((p) => p.external_ids[PORT] === undefined && p.external_ids[markOf("qos")] === undefined);
    if (theirs !== undefined) draft.note(`port ${theirs.name}`, `it uses QoS ${row.external_ids[OWNED]!}, which the controller made and would delete`);
  }
  const queuesOf = (qos: AnyRow): readonly unknown[] => [...(qos.queues as unknown as ReadonlyMap<number, string>).values()];
  const used = new Set([...replica.table<AnyRow>("QoS").values()].filter((q) => !deleted.has(q)).flatMap(queuesOf));
  for (const { table, row } of roots) if (table === "Queue" && !used.has(row._uuid)) deleted.add(row);
  return roots.flatMap(({ table, row }) => (deleted.has(row) ? [del(table, byUuid(row))] : []));
}

/**
 * The wishes that this bridge can have, and those of its one IPFIX, sFlow, NetFlow: the first by key, if nobody else's is there. What is
 * left out is named.
 */
function possible(
  replica: Pick<Replica, "table">, bridge: BridgeRow, wishes: readonly Wish[], left: ReadonlyMap<Wish, AnyRow>, draft: Draft,
): { readonly made: readonly Wish[]; readonly exported: ReadonlySet<Wish> } {
  const refused = new Set<Wish>();
  const refuse = (wish: Wish, problem: string): void => {
    refused.add(wish);
    draft.note(`${wish.table} of bridge ${bridge.name}`, `${problem}, and ${wish.key} is missing`);
  };
  const foreign = (table: RowTable, id: string | undefined): boolean => id !== undefined && replica.table<AnyRow>(table).get(id)?.external_ids[OWNED] === undefined;

  const numbers = new Set<unknown>();
  for (const row of replica.table<AnyRow>("Flow_Sample_Collector_Set").values()) if (row.external_ids[OWNED] === undefined && row.bridge === bridge._uuid) numbers.add(row.id);
  const referred = new Set<string>();
  const alive = new Set<string>();
  // A row that stays as it is has what it has, whatever was wished.
  for (const wish of [...left.keys(), ...wishes.filter((w) => !left.has(w))]) {
    if (wish.table === "Flow_Sample_Collector_Set") {
      const row = left.get(wish);
      const id = row === undefined ? wish.columns.id : row.id;
      const ipfix = row === undefined ? (wish.columns.ipfix as OvsRef | undefined)?.key : replica.table<AnyRow>("IPFIX").get(row.ipfix as string)?.external_ids[OWNED];
      if (numbers.has(id)) refuse(wish, `there is another of id ${id as number}`);
      numbers.add(id);
      if (ipfix === undefined) continue;
      referred.add(ipfix);
      if (!refused.has(wish)) alive.add(ipfix);
    } else if (wish.table === "Flow_Table" && foreign(wish.table, bridge.flow_tables.get(wish.number!))) {
      refuse(wish, `table ${wish.number!} has one that the controller did not make; it is left alone`);
    }
  }
  const exported = new Set<Wish>();
  for (const [table, column] of Object.entries(SINGLE)) {
    let first: Wish | undefined;
    for (const wish of wishes) {
      if (wish.table !== table) continue;
      if (table === "IPFIX" && referred.has(wish.key)) {
        // It is kept by the set that refers to it; without one nothing would keep it.
        if (!alive.has(wish.key)) refused.add(wish);
      } else if (foreign(table, bridge[column])) refuse(wish, `it has a ${table} that the controller did not make; it is left alone`);
      else if (first !== undefined) refuse(wish, `it can have one, which is ${first.key}`);
      else exported.add((first = wish));
    }
  }
  return { made: wishes.filter((w) => !refused.has(w)), exported };
}

/** What the bridge refers to: of ours what is wanted, of others what is there. */
function planHolders(replica: Pick<Replica, "table">, bridge: BridgeRow, made: readonly Wish[], exported: ReadonlySet<Wish>, resolve: Resolve): Operation[] {
  const operations: Operation[] = [];
  const refOf = (wish: Wish): InputAtom => resolve({ ref: wish.table, key: wish.key })!;
  const idOfRef = (ref: InputAtom): string => (typeof ref === "object" && "uuid" in ref ? ref.uuid : "");
  const isOurs = (table: RowTable, id: string): boolean => replica.table<AnyRow>(table).get(id)?.external_ids[OWNED] !== undefined;

  for (const [table, column] of Object.entries(SINGLE)) {
    const wish = [...exported].find((w) => w.table === table);
    const now = bridge[column];
    if (wish !== undefined ? now !== idOfRef(refOf(wish)) : now !== undefined && isOurs(table as RowTable, now)) operations.push(update("Bridge", byUuid(bridge), { [column]: wish === undefined ? null : refOf(wish) }));
  }
  const mutations: Mutation[] = [];
  const mirrors = made.filter((w) => w.table === "Mirror").map(refOf);
  const gone = bridge.mirrors.filter((id) => isOurs("Mirror", id) && !mirrors.some((m) => idOfRef(m) === id));
  const added = mirrors.filter((m) => !bridge.mirrors.includes(idOfRef(m)));
  if (gone.length > 0) mutations.push(["mirrors", "delete", gone]);
  if (added.length > 0) mutations.push(["mirrors", "insert", set(added)]);
  const tables = new Map(made.flatMap((w) => (w.table === "Flow_Table" ? [[w.number!, refOf(w)] as const] : [])));
  const stale = [...bridge.flow_tables].filter(([n, id]) => isOurs("Flow_Table", id) && idOfRef(tables.get(n) ?? "") !== id).map(([n]) => n);
  const fresh = [...tables].filter(([n, ref]) => bridge.flow_tables.get(n) !== idOfRef(ref));
  if (stale.length > 0) mutations.push(["flow_tables", "delete", stale]);
  if (fresh.length > 0) mutations.push(["flow_tables", "insert", map(new Map(fresh))]);
  if (mutations.length > 0) operations.push(mutate("Bridge", byUuid(bridge), mutations));
  return operations;
}

/** Takes our rows off a bridge that is not the integration bridge (any more), and what was made for a bridge that is none. */
export function planRowsElsewhere(replica: Pick<Replica, "table">, others: readonly BridgeRow[], bridge: BridgeRow | undefined): Operation[] {
  const operations: Operation[] = [];
  const isOurs = (table: RowTable, id: string): boolean => replica.table<AnyRow>(table).get(id)?.external_ids[OWNED] !== undefined;
  for (const other of others) {
    for (const [table, column] of Object.entries(SINGLE)) {
      const now = other[column];
      if (now !== undefined && isOurs(table as RowTable, now)) operations.push(update("Bridge", byUuid(other), { [column]: null }));
    }
    const mirrors = other.mirrors.filter((id) => isOurs("Mirror", id));
    if (mirrors.length > 0) operations.push(mutate("Bridge", byUuid(other), [["mirrors", "delete", mirrors]]));
    const tables = [...other.flow_tables].filter(([, id]) => isOurs("Flow_Table", id)).map(([n]) => n);
    if (tables.length > 0) operations.push(mutate("Bridge", byUuid(other), [["flow_tables", "delete", tables]]));
  }
  for (const row of replica.table<AnyRow>("Flow_Sample_Collector_Set").values()) {
    if (row.external_ids[OWNED] !== undefined && row.bridge !== bridge?._uuid) operations.push(del("Flow_Sample_Collector_Set", byUuid(row)));
  }
  return operations;
}

