// What an app shows operators beside problems: lists on the ops listener, and gauges in its metrics. Both are asked when somebody asks, and read what the
// app's services keep as facts. What happens many times a second is counted as it happens.
import type { LiveView } from "./soft-table.ts";

export interface OpsFilter {
  readonly about: string;
  readonly values?: readonly string[];
  /** The id of a chassis that is there: else 404. */
  readonly chassis?: true;
  /** A whole number from one to another. */
  readonly integer?: readonly [least: number, most: number];
  /**
   * Types of resources, which may hang on the other filters: the id of one of them, or a name that only one has; `rows` is given the id. With a project given as
   * well a name is that of the project's own, if it has one. A name that several have is 400 with their ids and projects. None has it: `rows` is given the text, for
   * what was deleted, and 400 is answered if that finds nothing; likewise if nothing is found of what is of another project than the one given.
   */
  readonly resource?: readonly string[] | ((asked: Readonly<Record<string, string>>) => readonly string[]);
  /** The id of a project: 400 if nothing is found and nothing here is of that project. */
  readonly project?: true;
}

/** A list on the ops listener: `GET /<path>` is a JSON array of what `rows` gives. */
export interface OpsList {
  /** One word, as `tunnels`; unique among apps and what the core has there. */
  readonly path: string;
  readonly about: string;
  /** Query parameters, each given once at most; one that is not among these, or not of these values, is refused with 400 naming it. */
  readonly filters?: Readonly<Record<string, OpsFilter>>;
  /** What is listed, by the filters that were given; written as it comes, so that there may be much. */
  rows(this: void, view: LiveView, asked: Readonly<Record<string, string>>): Iterable<object>;
  /** Where there are no rows: why, if that reads as something else; ASCII. In header `x-axion-why-empty`, which `axion` prints. */
  whyEmpty?(this: void, view: LiveView, asked: Readonly<Record<string, string>>): string | undefined;
}

/** A gauge in `GET /metrics`. Its labels' values are few: hosts, states, never ids of tenants' resources, but of those that are there to be counted. */
export interface OpsGauge {
  /** `axion_...`, unit last; of a counter `..._total` behind it. */
  readonly name: string;
  /** It only grows, or begins anew: Prometheus takes its rate. */
  readonly counter?: true;
  readonly about: string;
  readonly labels?: readonly string[];
  /** A value, or one for each set of labels; at most 4,096 are shown. */
  read(this: void, view: LiveView): number | Iterable<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }>;
}

/** Something that an app counts as it happens, in `GET /metrics`: in a service by `ServiceHost.count`, in a packet handler by `counted` among what it answers with. */
export interface OpsCounter<V extends string = string> {
  /** `axion_..._total` */
  readonly name: string;
  readonly about: string;
  /** Name of its label, and all values that it may have: each is there from the start, at 0. */
  readonly label: string;
  readonly values: readonly V[];
}
export const defineCounter = <const V extends string>(counter: OpsCounter<V>): OpsCounter<V> => counter;

/** One more of a counter that the app lists. */
export interface Counted {
  readonly counted: OpsCounter;
  readonly value: string;
}
export const counted = <V extends string>(counter: OpsCounter<V>, value: NoInfer<V>): Counted => ({ counted: counter, value });
