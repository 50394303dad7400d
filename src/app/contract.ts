// The app contract ("#app"): all that a network function may import of the core. An app is a folder under apps/ whose
// index.ts exports an App as default; it is found, not listed. docs/apps.md tells how to write one.
import type { Entrance, Sample } from "./api/actions.ts";
import type { Converter, KeyCheck } from "./api/check.ts";
import type { TableEffects } from "./rules/effects.ts";
import type { Explains } from "./explain.ts";
import type { Face } from "./api/face.ts";
import type { Observe } from "./observe.ts";
import type { PacketInHandler } from "./packets.ts";
import type { Pool } from "./pools.ts";
import type { Mend, Reference } from "./references.ts";
import type { Accesses, Alias, AnyResource, BoundExtension, ExtendAll } from "./api/resource.ts";
import type { Vif } from "./inventory.ts";
import type { Derivation } from "./rules/derivations.ts";
import type { PipelineDecl, PortPlace, Rule, StaticFlows } from "./rules/pipeline.ts";
import type { QuestionAnswer } from "./questions.ts";
import type { ServiceDecl } from "./service.ts";
import type { OpsCounter, OpsGauge, OpsList } from "./shown.ts";
import type { Settings } from "./settings.ts";
import type { AnySoftTable, LiveView } from "./soft-table.ts";
import type { AnyTable, ReadView, Tx } from "./table.ts";
import type { MapPart } from "./topology.ts";
import type { ProblemKind } from "../lib/problem.ts";

export * from "./table.ts";
export * from "./soft-table.ts";
export * from "./inventory.ts";
export * from "./api/refusal.ts";
export * from "./api/check.ts";
export * from "./api/resource.ts";
export * from "./api/access.ts";
export * from "./api/face.ts";
export * from "./rules/stages.ts";
export * from "./api/actions.ts";
export * from "./rules/scopes.ts";
export * from "./rules/derivations.ts";
export * from "./rules/outputs.ts";
export * from "./ovs-columns.ts";
export * from "./observe.ts";
export * from "./pools.ts";
export * from "./questions.ts";
export * from "./references.ts";
export * from "./packets.ts";
export * from "./rules/effects.ts";
export * from "./counting/flow-counts.ts";
export { FlowCounters, type Countable, type CountFact, type FlowCountersOptions, type StoredCount } from "./counting/counters.ts";
export * from "./explain.ts";
export * from "./rules/pipeline.ts";
export * from "./service.ts";
export { activeRows, type ActiveRowsOptions } from "./services/active-rows.ts";
export * from "./shown.ts";
export * from "./topology.ts";
export { defineSettings, type Endpoint, type SettingDecl, type SettingDecls, type NumberRange, type SettingKind, type Settings, type SettingValues } from "./settings.ts";
export * from "./api/validate.ts";
export * from "../lib/address.ts";
export * from "../lib/name-uuid.ts";
export { momentOf, timestampOf } from "../lib/clock.ts";
export * from "./rules/port-masks.ts";
export * from "../lib/shares.ts";
export { TcpListener, type TcpListenerOptions, type TcpOrigin, type TcpPeer } from "../lib/tcp/listener.ts";
export type { TcpClock, TcpTimes } from "../lib/tcp/connection.ts";
export type { TcpStream } from "../lib/tcp/stream.ts";
export { framed, Messages } from "../lib/tcp/messages.ts";
export { hmacSha256 } from "../lib/http/signature.ts";
export { HttpService, type HttpAnswer, type HttpOptions, type HttpRequest } from "../lib/tcp/http.ts";

/**
 * What an app says of a port at a place, where packets come from it (classify) and where they go to it (locate). It costs no lookup.
 * A standby place hears what its port hears, unless a context says that it is deaf; what it sends is dropped, unless one says that it speaks.
 */
export interface PortContext {
  /** A register of the app to load. */
  readonly register?: string;
  /** Its value for a port at a place; 0 leaves the register alone. */
  value?(view: ReadView, place: PortPlace): number;
  /** Loaded for the port as sender, as receiver, or (by default) as both. */
  readonly side?: "sender" | "receiver";
  /** A sample of what comes from the port, before anything is looked at. */
  sample?(view: ReadView, place: PortPlace): Sample | undefined;
  /** Whether packets from the port enter the `ingress` stage first, and packets to it pass the `egress` stage last. */
  ingress?(view: ReadView, place: PortPlace): boolean;
  egress?(view: ReadView, place: PortPlace): boolean;
  /**
   * Tables of the app by which packets from the port enter policy, and packets to it, in place of the first of `acl_out` and `acl_in`: those may
   * begin with conntrack, these do not. What a service did not take enters by the stage all the same.
   */
  acl?(view: ReadView, place: PortPlace): { readonly out: Entrance; readonly in: Entrance } | undefined;
  /** Whether packets from a standby place pass as those of an active one do. Together with `ingress` the app's table there decides of each. */
  speaks?(view: ReadView, place: PortPlace): boolean;
  /** Whether what goes to a standby place ends at its switch, short of policy and of the interface. */
  deaf?(view: ReadView, place: PortPlace): boolean;
}

/** What an app finds wrong now, for GET /problems: what, since when (default: when it was first found), whom it concerns and what helps. */
export interface AppProblem {
  /** For programs: metadata_unreachable. It is shown with the app's name before it. */
  readonly kind: string;
  /** info: nothing is broken, and somebody may want to know. */
  readonly severity: "critical" | "error" | "warning" | "info";
  readonly since?: string;
  readonly text: string;
  readonly resources?: readonly { readonly type: string; readonly id: string; readonly name?: string }[];
  /** Ids of chassis. */
  readonly switches?: readonly string[];
  readonly cure: { readonly text: string };
}

export interface App {
  readonly name: string;
  readonly about: string;
  /** Apps that must be there too; their hooks run first. */
  readonly requires?: readonly string[];
  /** One of these that it adds to, or several: left out with any of them. */
  readonly partOf?: string | readonly string[];
  /** What `defineSettings` made: flags of its own, read by `view.settings`. */
  readonly settings?: Settings;
  readonly tables?: readonly AnyTable[];
  readonly softTables?: readonly AnySoftTable[];
  /** What `defineResource` made. */
  readonly resources?: readonly AnyResource[];
  /** What this app adds to resources of the apps it requires, made by `extendResource`. */
  readonly extend?: readonly BoundExtension[];
  /** What this app adds to resources whoever declares them; asked once for each at boot. */
  readonly extendAll?: ExtendAll;
  /** What `{ convert: name }` of a check means. Names are unique across apps. */
  readonly converters?: Readonly<Record<string, Converter>>;
  /** Keys that it adds to objects of attributes of other apps, by what these call them (`more` of a check), and keeps itself. */
  readonly keys?: Readonly<Record<string, Readonly<Record<string, KeyCheck>>>>;
  readonly aliases?: readonly Alias[];
  /** Access rules for other rules to build on, by name, in oslo.policy's syntax: `{ network_owner: "project_id:%(network:project_id)s" }`. */
  readonly policies?: Readonly<Record<string, string>>;
  /** Ways into the API, beside v2.0. */
  readonly faces?: readonly Face[];
  readonly pipeline?: PipelineDecl;
  /** Pools of numbers that its rows and claims draw on. */
  readonly pools?: readonly Pool[];
  /** What its stored rows name of other apps, made by `reference`. */
  readonly references?: readonly Reference[];
  /** Answers to questions of apps that it requires, made by `answer`. */
  readonly answers?: readonly QuestionAnswer[];
  /** What of the stored rows is to be made right at a start, before anything is compiled, beside `references`: where one app keeps rows of any others. */
  mend?(this: void, view: ReadView, all: readonly AnyResource[], accesses: (resource: string) => Accesses): Iterable<Mend>;
  readonly derive?: readonly Derivation[];
  readonly rules?: readonly Rule[];
  readonly staticFlows?: StaticFlows;
  readonly portContext?: readonly PortContext[];
  /** Table name -> what happens when its flows come and go on a switch. */
  readonly effects?: Readonly<Record<string, TableEffects>>;
  /** Table name -> handler of what its flows punt. */
  readonly packetIn?: Readonly<Record<string, PacketInHandler>>;
  /**
   * Of its tables those whose packets every controller of a cluster hears, not the master of their switch alone: what handlers learn of them is known to all, and
   * services are given them. What is to be sent because of them the master of a chassis sends.
   */
  readonly heard?: readonly string[];
  readonly services?: readonly ServiceDecl[];
  /** What is wrong now; asked when somebody asks. At most 100 are shown. */
  readonly problems?: (view: LiveView) => readonly AppProblem[];
  /** The kinds of problem that it can find, with cause and cure for docs/problems.md. */
  readonly problemKinds?: Readonly<Record<string, ProblemKind>>;
  /** What operators are shown beside: lists on the ops listener, gauges and counters in the metrics. */
  readonly opsLists?: readonly OpsList[];
  readonly gauges?: readonly OpsGauge[];
  readonly counters?: readonly OpsCounter[];
  /** What it has for the operator's map. */
  readonly map?: MapPart;
  /** What it knows of packets that an operator, or a tenant, has traced. */
  readonly explains?: Explains;
  /** Columns that a host's switch writes by itself, to be read with `observed`. */
  readonly observe?: Observe;
  /** What plugging means: an interface appeared, its flows are confirmed by its switch, it is gone. */
  readonly vif?: {
    plugged?(tx: Tx, vif: Vif): void;
    installed?(tx: Tx, vif: Vif): void;
    unplugged?(tx: Tx, vif: Vif): void;
    /** Whether the interface is the one in use for what its iface-id names: only such a one is marked axion-installed. */
    serves?(view: ReadView, vif: Vif): boolean;
    /** Whether its iface-id names something of the app's. An interface that no app knows is named in GET /problems. */
    known?(view: ReadView, vif: Vif): boolean;
    /** What is wrong with the place of an interface that the app knows; asked as `known` is, and shown some seconds later if it is still so. */
    fault?(view: ReadView, vif: Vif): AppProblem | undefined;
    /** Iface-ids, beside the row's own id, of interfaces that a change of the row with this id concerns: whether they serve is asked again. */
    concerned?(view: ReadView, id: string): readonly string[];
  };
}
