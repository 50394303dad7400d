// What a caller says of a network's segments -> segments that are stored: judged, and their numbers taken.
import { ApiError, badRequest, conflict, giveBack, holderOf, invalidInput, PoolExhaustedError, take, type ApiContext, type NumberRange, type Tx } from "#app";
import { bindingFault, chosenId, chosenSegments, chosenSegmentTable, pluggedAt, portBindingTable, portTable, requestedChassis, type ChosenSegment, type Network } from "../l2/model.ts";
import { commonEncap, drawVni, giveBackVni, networkMtu, takeVni, vniOf } from "../overlay/model.ts";
import { configuredRanges, isKnown, networkTypes, offeredNumbers, providerSettings, vlanPool, VLAN_MAX, VLAN_MIN, type NetworkType, type NumberedType, type OfferedRange } from "./numbers.ts";

/** A segment as it is asked for; what is absent is left to the controller. */
export interface SegmentWish {
  readonly type?: string | undefined;
  readonly physicalNetwork?: string | undefined;
  readonly segmentationId?: number | undefined;
}
type Chosen = Pick<ChosenSegment, "type" | "physical_network" | "segmentation_id" | "outer_tag">;

/** Of GRE as well, whose keys could be longer: all tunnels have one space of numbers. */
const VNI_MAX = 2 ** 24 - 1;

const noNetwork = (): ApiError => new ApiError(503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.");
const vlanInUse = (vlan: number, physnet: string): ApiError => conflict("VlanIdInUse", `Unable to create the network. The VLAN ${vlan} on physical network ${physnet} is in use.`);

/** That a network has at most. */
export const SEGMENTS_MAX = 16;

/** The transaction of a call, and the API that it goes through. */
export interface At {
  readonly tx: Tx;
  readonly ctx: ApiContext;
}

/** Stores the segments of a new network. @throws ApiError when one is not as it has to be, or its number is taken */
export function chooseSegments(at: At, network: Network, wishes: readonly SegmentWish[]): void {
  const types = wishes.map(checked);
  const texts = wishes.filter((w) => w.segmentationId !== undefined || w.type === "flat").map((w) => JSON.stringify([w.type, w.physicalNetwork, w.segmentationId]));
  if (new Set(texts).size < texts.length) throw badRequest("Duplicate segment entry in request.", "SegmentsContainDuplicateEntry");
  checkTogether(wishes, types);
  for (const [index, wish] of wishes.entries()) put(at.tx, network, index, withNumber(at, network, types[index]!, wish));
}

/**
 * A network whose maker says nothing becomes the first of the operator's types that has a number; without types it is the overlay's, with a VNI
 * of those that are offered for tunnels.
 */
export function chooseForTenant(at: At, network: Network): void {
  const types = at.tx.settings(providerSettings)["tenant-network-types"];
  if (types.length === 0) {
    const lists = answered(at, network, "tunnel");
    if (lists !== undefined && drawnVni(at, network, lists) === undefined) throw noNetwork();
    return;
  }
  for (const type of types) {
    const chosen = allocated(at, network, type);
    if (chosen === undefined) continue;
    put(at.tx, network, 0, chosen);
    return;
  }
  throw noNetwork();
}

/** What other apps offer; undefined: none says anything. */
function answered({ tx, ctx }: At, { project_id }: Network, type: NumberedType): readonly (readonly OfferedRange[])[] | undefined {
  const answers = ctx.ask(offeredNumbers, tx, { type, project_id });
  return answers.length === 0 ? undefined : answers.flat();
}
const offered = (at: At, network: Network, type: NetworkType): readonly (readonly OfferedRange[])[] => answered(at, network, type) ?? [configuredRanges(at.tx, type)];

/** `physnet`: of this physical network alone. */
function allocated(at: At, network: Network, type: NetworkType, physnet?: string): Chosen | undefined {
  if (type === "local") return { type, physical_network: null, segmentation_id: null };
  if (type === "flat") return undefined; // of a physical network there is one: nobody gets it by chance
  if (type === "vlan") {
    for (const ranges of offered(at, network, type)) {
      const physnets = new Set(ranges.map((r) => r.physical_network));
      for (const name of physnet === undefined ? physnets : [physnet]) {
        if (name === null || !isKnown(at.tx, name)) continue;
        const vlan = drawVlan(at.tx, network, name, ranges.filter((r) => r.physical_network === name).map(asRange));
        if (vlan !== undefined) return { type, physical_network: name, segmentation_id: vlan };
      }
    }
    return undefined;
  }
  const n = drawnVni(at, network, offered(at, network, type));
  if (n === undefined) return undefined;
  takeVni(at.tx, network.id, n); // as the segment says it from now on
  return { type, physical_network: null, segmentation_id: n };
}

const asRange = ({ from, to }: OfferedRange): NumberRange => [from, to];

/** A VNI of those that are offered. */
function drawnVni({ tx }: At, network: Network, lists: readonly (readonly OfferedRange[])[]): number | undefined {
  for (const ranges of lists) {
    try {
      return drawVni(tx, network.id, network.key, ranges.map(asRange));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }
  return undefined;
}

/** A VLAN of these ranges. */
function drawVlan(tx: Tx, network: Network, physnet: string, within: readonly NumberRange[]): number | undefined {
  try {
    const n = take(tx, vlanPool, physnet, network.id, { within, claimed: true });
    return take(tx, vlanPool, physnet, network.id, { n, claimed: true }); // as the segment says it from now on
  } catch (error) {
    if (error instanceof PoolExhaustedError) return undefined;
    throw error;
  }
}

/** Another VLAN for a network that is on one. */
export function moveVlan(tx: Tx, segment: ChosenSegment, vlan: number): void {
  if (vlan < VLAN_MIN || vlan > VLAN_MAX) throw outOfRange(VLAN_MIN, VLAN_MAX);
  takeVlan(tx, segment.network_id, segment.physical_network!, vlan);
  tx.put(chosenSegmentTable, { ...segment, segmentation_id: vlan });
}

/**
 * One more segment of a network, its number taken. A network that nobody chose a type for is from then on in tunnels of the type that it was shown
 * to be, beside it. @throws ApiError when it is not as it has to be, its number is taken, or a port could not stay where it is
 */
export function addSegment(at: At, network: Network, wish: SegmentWish): ChosenSegment {
  const { tx } = at;
  const type = checked(wish);
  const unbound = portsNowhere(tx, network.id);
  let there = chosenSegments(tx, network.id);
  if (there.length === 0) there = [chooseTunnels(tx, network)];
  if (there.length >= SEGMENTS_MAX) throw badRequest(`A network has ${SEGMENTS_MAX} segments at most.`, "TooManySegments");
  checkTogether([...there.map((s) => ({ physicalNetwork: s.physical_network ?? undefined })), wish], [...there.map((s) => s.type), type]);
  const outer = outerTag(network, type);
  const index = Math.max(...there.map((s) => s.index)) + 1;
  put(tx, network, index, { ...withNumber(at, network, type, wish), ...(outer !== undefined && { outer_tag: outer }) });
  const most = networkMtu(tx, network.id);
  if (network.mtu !== undefined && network.mtu > most) throw invalidInput(`the network's MTU of ${network.mtu} is too big for the segment, maximum is ${most}`);
  for (const port of portsNowhere(tx, network.id)) {
    if (!unbound.has(port)) throw conflict("SegmentInUse", `The network has no segment of a chosen type, and port ${port} is at a host without ${there[0]!.type} tunnels.`);
  }
  return tx.get(chosenSegmentTable, chosenId(network.id, index))!;
}

/** A network of several segments without one of them; its number is free. `inUse`: what is said when a port is on a host that has no other. */
export function removeSegment(tx: Tx, segment: ChosenSegment, inUse: (port: string) => ApiError): void {
  const unbound = portsNowhere(tx, segment.network_id);
  tx.delete(chosenSegmentTable, segment.id);
  if (segment.type === "vlan") giveBack(tx, vlanPool, segment.physical_network!, segment.network_id);
  else if (segment.physical_network === null) giveBackVni(tx, segment.network_id);
  for (const port of portsNowhere(tx, segment.network_id)) if (!unbound.has(port)) throw inUse(port);
}

/** What nobody chose, as it is shown. */
function chooseTunnels(tx: Tx, network: Network): ChosenSegment {
  const n = vniOf(tx, network.id) ?? drawVni(tx, network.id, network.key);
  takeVni(tx, network.id, n);
  put(tx, network, 0, { type: commonEncap(tx), physical_network: null, segmentation_id: n });
  return tx.get(chosenSegmentTable, chosenId(network.id, 0))!;
}

/** Ports of a network that are, or shall be, at hosts that have none of its segments. */
function portsNowhere(tx: Tx, networkId: string): ReadonlySet<string> {
  const faulty = new Map<string, boolean>();
  const out = new Set<string>();
  for (const { id } of tx.by(portTable, "network", networkId)) {
    const requested = tx.get(portBindingTable, id)?.requested_host ?? "";
    const chassis = pluggedAt(tx, id)?.chassis ?? (requested === "" ? undefined : requestedChassis(tx, requested));
    if (chassis === undefined) continue;
    if (!faulty.has(chassis.id)) faulty.set(chassis.id, bindingFault(tx, networkId, chassis) !== undefined);
    if (faulty.get(chassis.id) === true) out.add(id);
  }
  return out;
}

/** The tag that a VLAN of the network has where tags of guests pass. @throws ApiError where those could not */
export function outerTag({ qinq, vlan_transparent: transparent }: { readonly qinq?: boolean; readonly vlan_transparent?: boolean }, type: string): ChosenSegment["outer_tag"] {
  if (qinq !== true && transparent !== true) return undefined;
  // Without a tag of its own a guest could tag itself into another network.
  if (type === "flat") throw qinq === true ? noQinq() : badRequest("Backend does not support VLAN Transparency.", "VlanTransparencyDriverError");
  return type === "vlan" ? (qinq === true ? 0x88a8 : 0x8100) : undefined;
}
export const noQinq = (): ApiError => badRequest("Backend does not support VLAN QinQ.", "VlanQinqDriverError");

const put = (tx: Tx, { id }: Network, index: number, chosen: Chosen): void => tx.put(chosenSegmentTable, { id: chosenId(id, index), network_id: id, index, ...chosen });
const outOfRange = (min: number, max: number): ApiError => invalidInput(`segmentation_id out of range (${min} through ${max})`);

/** The type of a segment, if what goes with it is there and nothing else. */
function checked({ type, physicalNetwork: physnet, segmentationId: id }: SegmentWish): NetworkType {
  if (type === undefined || type === "") throw invalidInput("provider:network_type required");
  if (type === "stt") throw invalidInput("provider:network_type 'stt' is not supported: Open vSwitch has no such tunnels; geneve, vxlan and gre are");
  const known = networkTypes.find((t) => t === type);
  if (known === undefined) throw invalidInput(`provider:network_type '${type}' not supported`);
  if (known === "local" && physnet !== undefined) throw invalidInput("physical_network prohibited for local provider network");
  if ((known === "local" || known === "flat") && id !== undefined) throw invalidInput(`segmentation_id prohibited for ${known} provider network`);
  if (known === "flat" && physnet === undefined) throw invalidInput("physical_network required for flat provider network");
  if (known === "vlan" && physnet === undefined && id !== undefined) throw invalidInput("segmentation_id requires physical_network for VLAN provider network");
  if (known === "vlan" && id !== undefined && (id < VLAN_MIN || id > VLAN_MAX)) throw outOfRange(VLAN_MIN, VLAN_MAX);
  if (known === "vxlan" || known === "gre" || known === "geneve") {
    if (physnet !== undefined) throw invalidInput(`provider:physical_network specified for ${known} network`);
    if (id !== undefined && (id < 1 || id > VNI_MAX)) throw outOfRange(1, VNI_MAX);
  }
  return known;
}

/** A network has one tunnel segment, one on each physical network, and a local one alone: a host would not know which of two to take. */
function checkTogether(wishes: readonly SegmentWish[], types: readonly NetworkType[]): void {
  if (types.length < 2) return;
  if (types.includes("local")) throw invalidInput("a local segment stands alone");
  if (types.filter((t) => t !== "flat" && t !== "vlan").length > 1) throw invalidInput("a network has one tunnel segment at most");
  const physical = wishes.filter((_, i) => types[i] === "flat" || types[i] === "vlan").map((w) => w.physicalNetwork);
  if (physical.includes(undefined)) throw invalidInput("physical_network required for VLAN segments of a network with several");
  if (new Set(physical).size < physical.length) throw invalidInput("a network has one segment on each physical network at most");
}

/** Its number is the network's from now on. */
function withNumber(at: At, network: Network, type: NetworkType, { physicalNetwork: physnet, segmentationId: id }: SegmentWish): Chosen {
  const { tx } = at;
  if (type === "flat" || type === "vlan") {
    if (physnet !== undefined && !isKnown(tx, physnet)) throw invalidInput(`physical_network '${physnet}' unknown for ${type === "flat" ? "flat" : "VLAN"} provider network`);
    if (type === "flat") {
      if (tx.count(chosenSegmentTable, "physical", `flat/${physnet}`) > 0) throw conflict("FlatNetworkInUse", `Unable to create the flat network. Physical network ${physnet} is in use.`);
      return { type, physical_network: physnet!, segmentation_id: null };
    }
    if (id !== undefined) takeVlan(tx, network.id, physnet!, id);
  } else if (id !== undefined) takeVni(tx, network.id, id);
  const chosen = id === undefined ? allocated(at, network, type, physnet) : { type, physical_network: physnet ?? null, segmentation_id: id };
  if (chosen === undefined) throw noNetwork();
  return chosen;
}

function takeVlan(tx: Tx, networkId: string, physnet: string, vlan: number): void {
  const holder = holderOf(tx, vlanPool, physnet, vlan);
  if (holder !== undefined && holder !== networkId) throw vlanInUse(vlan, physnet);
  take(tx, vlanPool, physnet, networkId, { n: vlan, claimed: true });
}
