/** OVSDB (RFC 7047) for Node: a client that stays connected, and the parts it is made of. This file is all that is public. */

export { OvsdbClient } from "./client/client.ts";
export type { ClientEvents, ClientOptions, ClientState, UpdateOptions } from "./client/options.ts";
export { connect, listen, type ConnectOptions, type ConnectTarget, type Listener, type ListenOptions } from "./session/connect.ts";
export {
  OvsdbConnectionError, OvsdbError, OvsdbOutcomeError, OvsdbProtocolError, OvsdbValueError,
  type ConnectionErrorCode, type OvsdbErrorFields, type ProtocolErrorCode,
} from "./wire/errors.ts";
export type { Json, JsonObject } from "./wire/json.ts";
export { generateTypes, type GenerateOptions } from "./schema/generate.ts";
export { OvsdbLock, type LockEvents } from "./client/lock.ts";
export { memberOf, watchMember, type Member } from "./client/member.ts";
export type { Monitor, MonitorEvents, MonitorMethod, MonitorOptions, MonitorRequest } from "./session/monitor.ts";
export { Transaction, type Committed, type RowRef } from "./replica/optimistic.ts";
export { OVSDB_PORT, parseRemotes, type Remote } from "./session/remotes.ts";
export { Replica, type AttachReport, type Conditions, type ReplicaEvents, type ReplicaOptions } from "./replica/replica.ts";
export type { MonitorSelect, Row, RowChange } from "./session/rows.ts";
export {
  parseSchema, type AtomicType, type BaseType, type ColumnSchema, type ColumnType, type DatabaseSchema, type TableSchema,
} from "./schema/schema.ts";
export type { SessionEvents, SessionOptions, TransactOptions } from "./session/options.ts";
export { OvsdbSession } from "./session/session.ts";
export {
  operations, Table,
  type AnyTables, type ColumnChoice, type ConditionOn, type DatabaseDefinition, type InsertOf, type Integer, type MutationOn, type Operations,
  type RowOf, type Tables, type TableTypes, type UpdateOf,
} from "./replica/tables.ts";
export {
  abort, assert, comment, commit, del, encodeOperations, insert, mutate, select, update, wait,
  type InputRow, type Operation, type OperationResult,
} from "./session/transact.ts";
export {
  decodeValue, defaultValue, encodeValue, equalValues, isUuid, map, namedUuid, set, uuid,
  type Atom, type Condition, type ConditionFunction, type InputAtom, type InputValue, type Mutation, type Mutator,
  type NamedUuid, type OvsdbMap, type OvsdbSet, type Uuid, type Value,
} from "./schema/values.ts";
