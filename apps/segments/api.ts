// The resource segments. A network's rows are made with it; what came or went while the app was not there is made right at a start.
import {
  AUTO, conflict, defineResource, extendResource, nameUuid, reference,
  type Alias, type ApiError, type Check, type LiveView, type Mend, type ReadView, type Tx,
} from "#app";
import { chosenSegments, chosenSegmentTable, isPhysical, networkResource, networkTable, type Network } from "../l2/model.ts";
import { commonEncap, vniOf } from "../overlay/model.ts";
import { addSegment, removeSegment } from "../provider/model.ts";
import { chosenOf, indexesOf, networkSegmentTable, segmentResource, subnetSegmentTable, type NetworkSegment } from "./model.ts";
import { checkOneMore } from "./routed.ts";

const ADMIN = "rule:admin_only";
/** Of ids of segments that come with their network; made at random, once. */
const NAMESPACE = "b8e53d6c0f3a4a7d9c21e4f0a7c5128e";

const text = (max: number): Check => ({ null: "", else: { type: "string", max } });

const inUse = (id: string, why: string): ApiError => conflict("SegmentInUse", `Segment '${id}' cannot be deleted: ${why}.`);

/** Of the network's own segments, which has one id whenever it is made. */
function ofNetwork(tx: Tx, { id: network_id, project_id }: Network, index: number | null): NetworkSegment {
  const id = nameUuid(NAMESPACE, chosenOf({ network_id, index: index ?? 0 }));
  return { id, project_id, name: "", description: "", created_at: tx.now, updated_at: tx.now, revision_number: 1, tags: [], network_id, index };
}

/** Rows of all that the network has, and of nothing else. */
function keep(tx: Tx, network: Network): void {
  const rows = new Map(tx.by(networkSegmentTable, "network", network.id).map((row) => [row.index, row]));
  const indexes = indexesOf(tx, network.id);
  // What nobody chose was chosen: it is the same segment.
  const before = rows.get(null);
  if (before !== undefined && indexes.includes(0)) {
    tx.put(networkSegmentTable, { ...before, index: 0 });
    rows.delete(null);
    rows.set(0, before);
  }
  for (const [index, { id }] of rows) if (!indexes.includes(index)) tx.delete(networkSegmentTable, id);
  for (const index of indexes) if (!rows.has(index)) tx.put(networkSegmentTable, ofNetwork(tx, network, index));
}
const isKept = (view: ReadView, networkId: string): boolean => {
  const rows = view.by(networkSegmentTable, "network", networkId).map((row) => row.index);
  const indexes = indexesOf(view, networkId);
  return rows.length === indexes.length && indexes.every((index) => rows.includes(index));
};

function shown(view: LiveView, row: NetworkSegment): Record<string, unknown> {
  const chosen = row.index === null ? undefined : view.get(chosenSegmentTable, chosenOf(row));
  return chosen === undefined
    ? { network_type: commonEncap(view), physical_network: null, segmentation_id: vniOf(view, row.network_id) ?? null }
    : { network_type: chosen.type, physical_network: chosen.physical_network, segmentation_id: chosen.segmentation_id };
}

const segment = defineResource(segmentResource, {
  collection: "segments",
  about: "One of the ways in which a network travels. Every network has at least one.",
  alias: "segment",
  table: networkSegmentTable,
  notFound: { type: "SegmentNotFound", message: (id) => `Segment ${id} could not be found.` },
  attributes: {
    project_id: { type: "string", about: "Accepted, and the network's.", post: true, visible: false, filter: false, sort: false },
    tenant_id: { type: "string", about: "Likewise.", post: true, visible: false, filter: false, sort: false },
    name: { type: "string", about: "For people; need not be unique.", post: true, put: true, default: "", check: text(255), filter: true, sort: true },
    network_id: { type: "uuid", about: "Its network.", post: true, required: true, filter: true, sort: true, index: "network" },
    network_type: { type: "string", about: "flat, vlan, vxlan, gre or geneve; local alone.", post: true, required: true, check: { type: "string", max: 32 }, filter: true, sort: true },
    physical_network: { type: "string", about: "Of a flat or VLAN one.", post: true, default: AUTO, check: text(64), filter: true, sort: true },
    segmentation_id: { type: "integer", about: "VLAN, VNI or GRE key; drawn if it is not given.", post: true, default: AUTO, check: { or: [{ type: "integer" }, { type: "null" }] }, filter: true, sort: true },
  },
  policy: { create: ADMIN, get: ADMIN, update: ADMIN, delete: ADMIN },
  create(tx, standard, input, ctx) {
    const network = ctx.visible(networkResource, input.network_id as string);
    checkOneMore(tx, network.id);
    const physnet = (input.physical_network as string | undefined) ?? "";
    const { index } = addSegment({ tx, ctx }, network, {
      type: input.network_type as string, physicalNetwork: physnet === "" ? undefined : physnet, segmentationId: (input.segmentation_id as number | null | undefined) ?? undefined,
    });
    const row: NetworkSegment = { ...standard, project_id: network.project_id, network_id: network.id, index };
    tx.put(networkSegmentTable, row);
    keep(tx, network);
    ctx.bump(networkResource, network.id);
    return row;
  },
  update(tx, row, { name = row.name }) {
    const after: NetworkSegment = { ...row, name: name as string };
    tx.put(networkSegmentTable, after);
    return after;
  },
  remove(tx, row, ctx) {
    if (tx.count(subnetSegmentTable, "segment", row.id) > 0) throw inUse(row.id, "subnets are on it");
    const chosen = row.index === null ? undefined : tx.get(chosenSegmentTable, chosenOf(row));
    if (chosen === undefined || tx.count(chosenSegmentTable, "network", row.network_id) < 2) throw inUse(row.id, "it is the only segment of its network");
    removeSegment(tx, chosen, (port) => inUse(row.id, `port ${port} is at a host that has no other segment of the network`));
    tx.delete(networkSegmentTable, row.id);
    ctx.bump(networkResource, row.network_id);
  },
  present: shown,
});

const network = extendResource(networkResource, {
  attributes: { l2_adjacency: { type: "boolean", about: "Whether ports hear each other wherever they are: not between several physical segments without tunnels, nor where subnets are on segments.", alias: "l2_adjacency" } },
  // Which segments it has is known when all had their say.
  completed(tx, done) {
    for (const { row, created } of done) if (created) keep(tx, row);
  },
  remove(tx, { id }) {
    for (const row of tx.by(networkSegmentTable, "network", id)) tx.delete(networkSegmentTable, row.id);
  },
  present(view, { id }) {
    const chosen = chosenSegments(view, id);
    // Who is on two segments hands on between them, and that is for tunnels and one physical network.
    return { l2_adjacency: view.count(subnetSegmentTable, "network", id) === 0 && (chosen.length < 2 || !chosen.every(isPhysical)) };
  },
});

/** Networks that were made while the app was not there. */
export function* mend(view: ReadView): Iterable<Mend> {
  for (const { id } of view.all(networkTable)) {
    if (isKept(view, id)) continue;
    yield {
      table: networkSegmentTable, id, why: `network ${id} was made`,
      run(tx) {
        const row = tx.get(networkTable, id);
        if (row !== undefined) keep(tx, row);
      },
    };
  }
}

export const resources = [segment];
export const extend = [network];
export const references = [reference(networkSegmentTable, { to: networkTable, ids: (s) => s.network_id, gone: (tx, s) => tx.delete(networkSegmentTable, s.id) })];
export const aliases: readonly Alias[] = [
  { alias: "segment", name: "Segment", description: "Segments of networks, one by one.", updated: "2016-02-24T17:00:00-00:00" },
  { alias: "subnet-segmentid-writable", name: "Subnet SegmentID (writable)", description: "A subnet that is there can be put on the segment of its network.", updated: "2018-04-09T10:00:00-00:00" },
  { alias: "l2_adjacency", name: "L2 Adjacency", description: "Networks show whether their ports hear each other wherever they are.", updated: "2016-04-12T16:00:00-00:00" },
  { alias: "standard-attr-segment", name: "Standard Attribute Segment Extension", description: "Segments have what every resource has.", updated: "2018-04-09T10:00:00-00:00" },
];
