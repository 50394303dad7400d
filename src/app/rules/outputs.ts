// What beside flows a rule may want of a switch (of its database: ovs-columns.ts): desired state that a scope holds, counted by owner, read back,
// compared and repaired like flows. Ids come from declared pools and stored rows, never from emission: a restart finds the same.
import type { FlowAction } from "../api/actions.ts";

/** A meter with one drop band. OpenFlow 1.3.5 section 7.3.4.4. `burst`: packets or kilobits, by unit. */
export interface Meter {
  readonly unit: "pps" | "kbps";
  readonly rate: number;
  readonly burst: number;
}

/** OpenFlow 1.3.5 section 7.3.4.3. `watchPort`: a fast-failover bucket lives as long as that port does. */
export interface Bucket {
  readonly weight?: number;
  readonly watchPort?: number;
  readonly watchGroup?: number;
  readonly actions: readonly FlowAction[];
}
export interface Group {
  readonly type: "all" | "select" | "indirect" | "ff";
  readonly buckets: readonly Bucket[];
}

/** Numbered things of a switch, by kind. */
export interface Items {
  readonly meter: Meter;
  readonly group: Group;
}
