// The face of the store: everything outside this folder imports from here or from kv.ts.

export * from "./kv.ts";
export * from "./errors.ts";
export { openStore, type OpenOptions } from "./open.ts";
export { KEEP, type CommitLog, type Keep, type LogChange, type LogCommit } from "./log.ts";
