// What other apps may know of l2, the one file of it that they import: its rows and tables, and functions that make flows for them.
export * from "./model/ports.ts";
export * from "./model/places.ts";
export * from "./model/holders.ts";
export * from "./model/answering.ts";
export { saidIn } from "./said.ts";
export * from "./model/ways.ts";
export * from "./model/copies.ts";
export * from "./model/errors.ts";
export * from "./model/tags.ts";
export * from "./model/entrance.ts";
