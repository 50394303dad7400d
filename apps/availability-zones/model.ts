// What other apps may know of zones: which hosts are in them, and how a resource is wished in some.
export * from "./zones.ts";
export { hinted, zoneHintsTable, type Hinted, type ZoneHints } from "./hints.ts";
