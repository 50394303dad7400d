// The messages of etcd's v3 API that this client speaks, under the names that its .proto files give them (api/mvccpb/kv.proto,
// api/etcdserverpb/rpc.proto of etcd 3.4 and later): a grep finds field and specification. Fields that nobody here uses are left out.
import { bool, bytes, id, int, many, message, one, text, texts, type Decoded, type Encodable, type Message } from "./wire/codec.ts";

export const KeyValue = message({ key: bytes(1), create_revision: int(2), mod_revision: int(3), version: int(4), value: bytes(5), lease: id(6) });
export const Event = message({ /** 0: put, 1: delete */ type: int(1), kv: one(2, KeyValue) });
const ResponseHeader = message({ cluster_id: id(1), member_id: id(2), revision: int(3), raft_term: int(4) });

export const sortOrder = { none: 0, ascend: 1, descend: 2 } as const;
export const RangeRequest = message({ key: bytes(1), range_end: bytes(2), limit: int(3), revision: int(4), sort_order: int(5), serializable: bool(7), keys_only: bool(8), count_only: bool(9) });
export const RangeResponse = message({ header: one(1, ResponseHeader), kvs: many(2, KeyValue), more: bool(3), count: int(4) });

export const PutRequest = message({ key: bytes(1), value: bytes(2), lease: id(3), ignore_value: bool(5) });
export const PutResponse = message({ header: one(1, ResponseHeader) });
export const DeleteRangeRequest = message({ key: bytes(1), range_end: bytes(2) });
export const DeleteRangeResponse = message({ header: one(1, ResponseHeader), deleted: int(2) });

export const RequestOp = message({ request_range: one(1, RangeRequest), request_put: one(2, PutRequest), request_delete_range: one(3, DeleteRangeRequest) });
export const ResponseOp = message({ response_range: one(1, RangeResponse), response_put: one(2, PutResponse), response_delete_range: one(3, DeleteRangeResponse) });

export const compareResult = { equal: 0, greater: 1, less: 2, notEqual: 3 } as const;
export const compareTarget = { version: 0, create: 1, mod: 2, value: 3, lease: 4 } as const;
/** One of a compare's values is always sent: a revision of 0 means that the key is not there. */
export const Compare = message({ result: int(1), target: int(2), key: bytes(3), version: int(4), create_revision: int(5), mod_revision: int(6) });
export const TxnRequest = message({ compare: many(1, Compare), success: many(2, RequestOp), failure: many(3, RequestOp) });
export const TxnResponse = message({ header: one(1, ResponseHeader), succeeded: bool(2), responses: many(3, ResponseOp) });

export const CompactionRequest = message({ revision: int(1), physical: bool(2) });
export const CompactionResponse = message({ header: one(1, ResponseHeader) });

const WatchCreateRequest = message({ key: bytes(1), range_end: bytes(2), start_revision: int(3), progress_notify: bool(4), fragment: bool(8) });
export const WatchRequest = message({ create_request: one(1, WatchCreateRequest) });
export const WatchResponse = message({ header: one(1, ResponseHeader), watch_id: int(2), created: bool(3), canceled: bool(4), compact_revision: int(5), cancel_reason: text(6), fragment: bool(7), events: many(11, Event) });

export const LeaseGrantRequest = message({ TTL: int(1), ID: id(2) });
export const LeaseGrantResponse = message({ header: one(1, ResponseHeader), ID: id(2), TTL: int(3), error: text(4) });
export const LeaseRevokeRequest = message({ ID: id(1) });
export const LeaseRevokeResponse = message({ header: one(1, ResponseHeader) });
export const LeaseKeepAliveRequest = message({ ID: id(1) });
export const LeaseKeepAliveResponse = message({ header: one(1, ResponseHeader), ID: id(2), TTL: int(3) });

export const StatusRequest = message({});
export const StatusResponse = message({ header: one(1, ResponseHeader), version: text(2), dbSize: int(3), leader: id(4), raftTerm: int(6), errors: texts(8), dbSizeInUse: int(9) });

export const AuthenticateRequest = message({ name: text(1), password: text(2) });
export const AuthenticateResponse = message({ header: one(1, ResponseHeader), token: text(2) });

export type KeyValue = Decoded<typeof KeyValue>;
export type Event = Decoded<typeof Event>;
export type RangeRequest = Encodable<typeof RangeRequest>;
export type RangeResponse = Decoded<typeof RangeResponse>;
export type PutRequest = Encodable<typeof PutRequest>;
export type PutResponse = Decoded<typeof PutResponse>;
export type DeleteRangeRequest = Encodable<typeof DeleteRangeRequest>;
export type DeleteRangeResponse = Decoded<typeof DeleteRangeResponse>;
export type RequestOp = Encodable<typeof RequestOp>;
export type Compare = Encodable<typeof Compare>;
export type TxnRequest = Encodable<typeof TxnRequest>;
export type TxnResponse = Decoded<typeof TxnResponse>;
export type StatusResponse = Decoded<typeof StatusResponse>;
export type WatchResponse = Decoded<typeof WatchResponse>;

/** A remote procedure: its path, and what goes each way. */
export interface Procedure<I, O> {
  readonly name: string;
  readonly request: Message<I, unknown>;
  readonly response: Message<never, O>;
}
const procedure = <I, O>(name: string, request: Message<I, unknown>, response: Message<never, O>): Procedure<I, O> => ({ name, request, response });

export const procedures = {
  range: procedure("KV/Range", RangeRequest, RangeResponse),
  put: procedure("KV/Put", PutRequest, PutResponse),
  deleteRange: procedure("KV/DeleteRange", DeleteRangeRequest, DeleteRangeResponse),
  txn: procedure("KV/Txn", TxnRequest, TxnResponse),
  compact: procedure("KV/Compact", CompactionRequest, CompactionResponse),
  watch: procedure("Watch/Watch", WatchRequest, WatchResponse),
  leaseGrant: procedure("Lease/LeaseGrant", LeaseGrantRequest, LeaseGrantResponse),
  leaseRevoke: procedure("Lease/LeaseRevoke", LeaseRevokeRequest, LeaseRevokeResponse),
  leaseKeepAlive: procedure("Lease/LeaseKeepAlive", LeaseKeepAliveRequest, LeaseKeepAliveResponse),
  status: procedure("Maintenance/Status", StatusRequest, StatusResponse),
  authenticate: procedure("Auth/Authenticate", AuthenticateRequest, AuthenticateResponse),
} as const;
