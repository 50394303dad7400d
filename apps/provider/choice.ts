// What a caller says of a network's segments -> segments that are stored: judged, and their numbers taken.
import { ApiError, badRequest, conflict, holderOf, invalidInput, PoolExhaustedError, take, type NumberRange, type Tx } from "#app";
import { chosenId, chosenSegmentTable, type ChosenSegment, type Network } from "../l2/model.ts";
import { drawVni, takeVni } from "../overlay/model.ts";
import { isKnown, networkTypes, providerSettings, vlanPool, VLAN_MAX, VLAN_MIN, type NetworkType } from "./model.ts";

/** A segment as it is asked for; what is absent is left to the controller. */
export interface SegmentWish {
  readonly type?: string | undefined;
  readonly physicalNetwork?: string | undefined;
  readonly segmentationId?: number | undefined;
}
type Chosen = Pick<ChosenSegment, "type" | "physical_network" | "segmentation_id">;

/** Of GRE as well, whose keys could be longer: all tunnels have one space of numbers. */
const VNI_MAX = 2 ** 24 - 1;

const noNetwork = (): ApiError => new ApiError(503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.");
const vlanInUse = (vlan: number, physnet: string): ApiError => conflict("VlanIdInUse", `Unable to create the network. The VLAN ${vlan} on physical network ${physnet} is in use.`);

/** Stores the segments of a new network. @throws ApiError when one is not as it has to be, or its number is taken */
export function chooseSegments(tx: Tx, network: Network, wishes: readonly SegmentWish[]): void {
  const types = wishes.map(checked);
  const texts = wishes.filter((w) => w.segmentationId !== undefined || w.type === "flat").map((w) => JSON.stringify([w.type, w.physicalNetwork, w.segmentationId]));
  if (new Set(texts).size < texts.length) throw badRequest("Duplicate segment entry in request.", "SegmentsContainDuplicateEntry");
  checkTogether(wishes, types);
  for (const [index, wish] of wishes.entries()) put(tx, network, index, withNumber(tx, network, types[index]!, wish));
}

/** A network whose maker says nothing becomes the first of the operator's types that has a number; without types it is the overlay's. */
export function chooseForTenant(tx: Tx, network: Network): void {
  const settings = tx.settings(providerSettings);
  const types = settings["tenant-network-types"];
  if (types.length === 0) return;
  for (const type of types) {
    const chosen = allocated(tx, network, type, settings["vlan-ranges"]);
    if (chosen === undefined) continue;
    put(tx, network, 0, chosen);
    return;
  }
  throw noNetwork();
}

function allocated(tx: Tx, network: Network, type: NetworkType, vlans: ReadonlyMap<string, readonly NumberRange[]>): Chosen | undefined {
  if (type === "local") return { type, physical_network: null, segmentation_id: null };
  if (type === "flat") return undefined; // of a physical network there is one: nobody gets it by chance
  if (type === "vlan") {
    for (const physnet of vlans.keys()) {
      const vlan = drawVlan(tx, network, physnet);
      if (vlan !== undefined) return { type, physical_network: physnet, segmentation_id: vlan };
    }
    return undefined;
  }
  try {
    return { type, physical_network: null, segmentation_id: freeVni(tx, network) };
  } catch (error) {
    if (error instanceof ApiError) return undefined;
    throw error;
  }
}

function freeVni(tx: Tx, { id, key }: Network): number {
  const n = drawVni(tx, id, key);
  takeVni(tx, id, n); // as the segment says it from now on
  return n;
}

/** A VLAN of the ranges for networks whose makers name none. */
function drawVlan(tx: Tx, network: Network, physnet: string): number | undefined {
  try {
    const n = take(tx, vlanPool, physnet, network.id, { within: tx.settings(providerSettings)["vlan-ranges"].get(physnet) ?? [], claimed: true });
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
function withNumber(tx: Tx, network: Network, type: NetworkType, { physicalNetwork: physnet, segmentationId: id }: SegmentWish): Chosen {
  if (type === "local") return { type, physical_network: null, segmentation_id: null };
  if (type !== "flat" && type !== "vlan") {
    if (id !== undefined) takeVni(tx, network.id, id);
    return { type, physical_network: null, segmentation_id: id ?? freeVni(tx, network) };
  }
  if (physnet === undefined) {
    const chosen = allocated(tx, network, type, tx.settings(providerSettings)["vlan-ranges"]);
    if (chosen === undefined) throw noNetwork();
    return chosen;
  }
  if (!isKnown(tx, physnet)) throw invalidInput(`physical_network '${physnet}' unknown for ${type === "flat" ? "flat" : "VLAN"} provider network`);
  if (type === "flat") {
    if (tx.count(chosenSegmentTable, "physical", `flat/${physnet}`) > 0) throw conflict("FlatNetworkInUse", `Unable to create the flat network. Physical network ${physnet} is in use.`);
    return { type, physical_network: physnet, segmentation_id: null };
  }
  if (id !== undefined) takeVlan(tx, network.id, physnet, id);
  const vlan = id ?? drawVlan(tx, network, physnet);
  if (vlan === undefined) throw noNetwork();
  return { type, physical_network: physnet, segmentation_id: vlan };
}

function takeVlan(tx: Tx, networkId: string, physnet: string, vlan: number): void {
  const holder = holderOf(tx, vlanPool, physnet, vlan);
  if (holder !== undefined && holder !== networkId) throw vlanInUse(vlan, physnet);
  take(tx, vlanPool, physnet, networkId, { n: vlan, claimed: true });
}
