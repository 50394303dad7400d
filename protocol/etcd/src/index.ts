export { EtcdClient, type CallOptions, type ClientConfig } from "./client/client.ts";
export type { Carrier, TlsFiles } from "./client/endpoints.ts";
export type { Watch, WatchHandlers, WatchTarget } from "./client/watch.ts";
export { EtcdError, type EtcdErrorCode, type EtcdErrorFields } from "./errors.ts";
export { compareResult, compareTarget, procedures, sortOrder, type Compare, type Event, type KeyValue, type PutRequest, type RangeRequest, type RangeResponse, type RequestOp, type StatusResponse, type TxnRequest, type TxnResponse } from "./messages.ts";
