// What GET /v2.0/axion/watch may be asked for.
import { invalidInput, type Caller } from "../../app/contract.ts";
import type { Change, Model } from "../../model/model.ts";
import type { View } from "../../model/view.ts";
import type { Kind, Registry } from "../kinds.ts";
import type { Slots } from "../lists/slots.ts";
import type { Reached } from "./reached.ts";
import { indexOfParts, type Narrowed } from "./watcher.ts";

export interface WatchLimits {
  readonly watchers: number;
  readonly ofProject: number;
  /** Resources that one watcher, and all, may follow. */
  readonly resources: number;
  readonly allResources: number;
  /** Changes of rows that are remembered. */
  readonly remembered: number;
  /** Changes are gathered for so long before they are told. */
  readonly gatherMs: number;
  readonly heartbeatMs: number;
  /** A client that takes nothing for so long is cut off. */
  readonly stallMs: number;
  /** One that comes back takes all that it missed in this time, or is cut off. */
  readonly sinceMs: number;
}
export const watchLimits: WatchLimits = { watchers: 256, ofProject: 16, resources: 20_000, allResources: 100_000, remembered: 20_000, gatherMs: 20, heartbeatMs: 15_000, stallMs: 30_000, sinceMs: 120_000 };

export interface WatchOptions {
  readonly registry: Registry;
  readonly model: Pick<Model, "generation" | "onCommit" | "snapshot">;
  readonly view: View;
  /** Waits a little for what another controller wrote; default: nobody does. */
  readonly reached?: Pick<Reached, "until">;
  /** Generation up to which derived rows are told of; default: they are not. */
  readonly compiled?: () => number;
  /** Changes of derived rows; of stored ones as well, which count for nothing. */
  readonly onChanges?: (observer: (changes: readonly Change[], generation: number) => void) => () => void;
  /** To look at all there is costs as much as a long list. */
  readonly slots: Slots;
  readonly limits?: Partial<WatchLimits>;
  readonly cut?: (reason: Cut) => void;
  /** A bug: something that is shown could not be worked out. */
  readonly failed: (error: unknown) => void;
}

export type Cut = "slow" | "reset" | "unauthenticated";

export interface WatchRequest {
  readonly query: URLSearchParams;
  readonly lastEventId: string | undefined;
  readonly accept: string | undefined;
  readonly caller: Caller;
  /** Who the client is by now. @throws ApiError 401 if nobody any more */
  readonly again: () => Caller | Promise<Caller>;
}

const KNOWN = ["resource", "project_id", "since"];

/** What is watched of these kinds. @throws ApiError naming what is wrong */
export function narrowedBy(query: URLSearchParams, all: readonly Kind[]): Narrowed {
  for (const name of query.keys()) if (!KNOWN.includes(name)) throw invalidInput(`'${name.slice(0, 64)}' is not known here; there are ${KNOWN.join(", ")}`);
  const names = query.getAll("resource").flatMap((text) => text.split(","));
  const kinds = names.length === 0 ? all : [...new Set(names)].map((name) => {
    const kind = all.find((k) => k.name === name);
    if (kind === undefined) throw invalidInput(`resource: '${name.slice(0, 64)}' is no resource that can be watched`);
    return kind;
  });
  const projects = query.getAll("project_id");
  if (projects.length > 1) throw invalidInput("project_id is given twice");
  return { kinds: withParents(kinds), told: new Set(kinds), project: projects[0] };
}

/** How far the client is that comes back. @throws ApiError */
export function sinceOf(query: URLSearchParams, lastEventId: string | undefined): number | undefined {
  const [text = lastEventId, second] = query.getAll("since");
  if (second !== undefined) throw invalidInput("since is given twice");
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw invalidInput(`${query.has("since") ? "since" : "Last-Event-ID"}: '${text.slice(0, 64)}' is not a generation`);
  return Number(text);
}

/** With the parents of parts that are found by their parents, and before them. */
function withParents(kinds: readonly Kind[]): readonly Kind[] {
  const out = new Set<Kind>();
  const add = (kind: Kind): void => {
    if (indexOfParts(kind) !== undefined) add(kind.parent!);
    out.add(kind);
  };
  for (const kind of kinds) add(kind);
  return [...out];
}
