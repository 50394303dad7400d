/** OVSDB (RFC 7047) for Node: sessions, transactions, monitors and replicas. This file is all that is public. */

export { connect, listen, type ConnectOptions, type ConnectTarget, type Listener, type ListenOptions } from "./connect.ts";
export {
  OvsdbConnectionError, OvsdbError, OvsdbProtocolError, OvsdbValueError,
  type ConnectionErrorCode, type OvsdbErrorFields, type ProtocolErrorCode,
} from "./errors.ts";
export type { Json, JsonObject } from "./json.ts";
export type { Monitor, MonitorEvents, MonitorMethod, MonitorRequest } from "./monitor.ts";
export { Replica, type AttachReport, type ReplicaEvents } from "./replica.ts";
export type { Row, RowChange } from "./rows.ts";
export {
  parseSchema, type AtomicType, type BaseType, type ColumnSchema, type ColumnType, type DatabaseSchema, type TableSchema,
} from "./schema.ts";
export { OvsdbSession, type SessionEvents, type SessionOptions } from "./session.ts";
export {
  abort, assert, comment, commit, del, encodeOperations, insert, mutate, select, update, wait,
  type InputRow, type Operation, type OperationResult,
} from "./transact.ts";
export {
  decodeValue, defaultValue, encodeValue, equalValues, isUuid, map, namedUuid, set, uuid,
  type Atom, type Condition, type ConditionFunction, type InputAtom, type InputValue, type Mutation, type Mutator,
  type NamedUuid, type OvsdbMap, type OvsdbSet, type Uuid, type Value,
} from "./values.ts";
