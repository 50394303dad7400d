// Groups and meters of the fake switch, judged and kept as Open vSwitch 3.1 does it: buckets by the type of their group,
// bands as its userspace datapath takes them. Deleting one takes the flows along that refer to it.

import { refusal } from "../wire/errors.ts";
import { groups as reserved, ports } from "../match/fields.ts";
import type { FlowTables, Referable, Transaction } from "./flows.ts";
import type { Decoded, MessageOf } from "../messages/codec.ts";

type GroupMod = Decoded<MessageOf<"group_mod">>;
type MeterMod = Decoded<MessageOf<"meter_mod">>;

export interface FakeGroup {
  readonly group_id: number;
  readonly group_type: GroupMod["group_type"];
  readonly buckets: GroupMod["buckets"];
  /** Milliseconds of the switch's clock. */
  readonly created: number;
}

export interface FakeMeter {
  readonly meter_id: number;
  readonly flags: number;
  readonly bands: MeterMod["bands"];
  readonly created: number;
}

const METER_MAX = 0xffff0000;
const METER_ALL = 0xffffffff;
/** Meters that Open vSwitch has for packets on its slow path and to the controller. */
const SPECIAL_METERS = [0xfffffffd, 0xfffffffe];
export const MAX_BANDS = 8;
/** kbps, pktps, burst, stats. */
export const METER_FLAGS = 15;
const KBPS_AND_PKTPS = 3;

export class GroupTable implements Referable {
  private readonly groups = new Map<number, FakeGroup>();
  private readonly meters = new Map<number, FakeMeter>();
  readonly maxGroups: number;
  readonly maxMeters: number;
  private readonly now: () => number;

  constructor(maxGroups: number, maxMeters: number, now: () => number) {
    this.maxGroups = maxGroups;
    this.maxMeters = maxMeters;
    this.now = now;
  }

  hasGroup(id: number): boolean {
    return this.groups.has(id);
  }

  hasMeter(id: number): boolean {
    return this.meters.has(id);
  }

  /** By number. */
  allGroups(): FakeGroup[] {
    return [...this.groups.values()].sort((a, b) => a.group_id - b.group_id);
  }

  allMeters(): FakeMeter[] {
    return [...this.meters.values()].sort((a, b) => a.meter_id - b.meter_id);
  }

  // --- groups ---

  /** Judges a group-mod by itself. @throws OpenFlowError a refusal */
  checkGroup(mod: GroupMod): void {
    const deletes = mod.command === "delete";
    const type = mod.group_type;
    if (deletes && mod.buckets.length > 0) throw refusal("OFPGMFC_INVALID_GROUP", 16, "a deletion has no buckets");
    if (typeof type !== "string") throw refusal("OFPGMFC_BAD_TYPE", 10, `group type ${type}`);
    if (type === "indirect" && !deletes && mod.buckets.length !== 1) throw refusal("OFPGMFC_INVALID_GROUP", 10, "an indirect group has one bucket");
    if (typeof mod.command !== "string") throw refusal("OFPGMFC_BAD_COMMAND", 8, `group command ${mod.command}`);
    for (const bucket of mod.buckets) {
      const live = (bucket.watch_port ?? ports.ANY) !== ports.ANY || (bucket.watch_group ?? ports.ANY) !== ports.ANY;
      if ((bucket.weight ?? 0) !== 0 && type !== "select") throw refusal("OFPGMFC_INVALID_GROUP", 16, "only buckets of a select group have a weight");
      if (live && (type === "all" || type === "indirect")) throw refusal("OFPGMFC_WATCH_UNSUPPORTED", 16, `buckets of a group of type ${type} watch nothing`);
      if (!live && type === "ff") throw refusal("OFPGMFC_INVALID_GROUP", 16, "buckets of a fast failover group watch a port or a group");
    }
  }

  /** Carries out a group-mod that checkGroup() has passed. @throws OpenFlowError a refusal */
  applyGroup(mod: GroupMod, flows: FlowTables, tx: Transaction): void {
    const old = this.groups.get(mod.group_id);
    switch (mod.command) {
      case "delete":
        for (const group of mod.group_id === reserved.ALL ? this.allGroups() : old === undefined ? [] : [old]) {
          flows.removeAll(flows.using("groups", group.group_id), "group_delete", tx);
          change(this.groups, group.group_id, undefined, tx);
        }
        return;
      case "add":
        if (old !== undefined) throw refusal("OFPGMFC_GROUP_EXISTS", 12, `group ${mod.group_id} exists`);
        break;
      case "modify":
        if (old === undefined) throw refusal("OFPGMFC_UNKNOWN_GROUP", 12, `no group ${mod.group_id}`);
        break;
      default:
        break;
    }
    const peers = this.allGroups().filter((group) => group.group_type === mod.group_type && group !== old).length;
    if (peers >= this.maxGroups) throw refusal("OFPGMFC_OUT_OF_GROUPS", 12, `there are ${this.maxGroups} groups of type ${mod.group_type} already`);
    if (mod.group_id > reserved.MAX) throw refusal("OFPGMFC_INVALID_GROUP", 12, `no group can be ${mod.group_id}`);
    change(this.groups, mod.group_id, { group_id: mod.group_id, group_type: mod.group_type, buckets: mod.buckets, created: old?.created ?? this.now() }, tx);
  }

  // --- meters ---

  /** @throws OpenFlowError a refusal */
  applyMeter(mod: MeterMod, flows: FlowTables, tx: Transaction): void {
    const old = this.meters.get(mod.meter_id);
    if (typeof mod.command !== "string") throw refusal("OFPMMFC_BAD_COMMAND", 8, `meter command ${mod.command}`);
    if (mod.command === "delete") {
      for (const meter of mod.meter_id === METER_ALL ? this.allMeters() : old === undefined ? [] : [old]) {
        flows.removeAll(flows.using("meters", meter.meter_id), "meter_delete", tx);
        change(this.meters, meter.meter_id, undefined, tx);
      }
      return;
    }
    if ((mod.flags & KBPS_AND_PKTPS) === KBPS_AND_PKTPS) throw refusal("OFPMMFC_BAD_FLAGS", 10, "a meter counts kilobits or packets");
    for (const band of mod.bands) if (band.type !== "drop" && band.type !== "dscp_remark") throw refusal("OFPMMFC_BAD_BAND", 16, `meter band ${band.type}`);
    if (mod.meter_id === 0 || (mod.meter_id > METER_MAX && !SPECIAL_METERS.includes(mod.meter_id))) throw refusal("OFPMMFC_INVALID_METER", 12, `no meter can be ${mod.meter_id}`);
    if (mod.bands.length > MAX_BANDS) throw refusal("OFPMMFC_OUT_OF_BANDS", 16, `more than ${MAX_BANDS} bands`);
    if (mod.command === "add" && old !== undefined) throw refusal("OFPMMFC_METER_EXISTS", 12, `meter ${mod.meter_id} exists`);
    if (mod.command === "modify" && old === undefined) throw refusal("OFPMMFC_UNKNOWN_METER", 12, `no meter ${mod.meter_id}`);
    if (old === undefined && this.meters.size >= this.maxMeters) throw refusal("OFPMMFC_OUT_OF_METERS", 12, `there are ${this.maxMeters} meters already`);
    if ((mod.flags & ~METER_FLAGS) !== 0) throw refusal("OFPMMFC_BAD_FLAGS", 10, `meter flags ${mod.flags}`);
    for (const band of mod.bands) if (band.type !== "drop") throw refusal("OFPMMFC_BAD_BAND", 16, "only bands that drop");
    // Without a burst size the datapath takes the rate for it, and says so.
    const bands = mod.bands.map((band) => ({ ...band, burst_size: (band.burst_size ?? 0) === 0 ? band.rate : band.burst_size! }));
    change(this.meters, mod.meter_id, { meter_id: mod.meter_id, flags: mod.flags, bands, created: old?.created ?? this.now() }, tx);
  }
}

function change<T>(map: Map<number, T>, id: number, value: T | undefined, tx: Transaction): void {
  const old = map.get(id);
  if (value === undefined) map.delete(id);
  else map.set(id, value);
  tx.undo(() => {
    if (old === undefined) map.delete(id);
    else map.set(id, old);
  });
}
