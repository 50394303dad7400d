// Metrics: prom-client behind the few calls that the controller's parts need. A registry is made where the controller is made
// and handed down; there is no global one, so that several controllers live in one process. Label names are declared with the
// metric: an undeclared one does not compile.
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry, collectDefaultMetrics } from "prom-client";

/** A value for each declared label; without labels there is nothing to give. */
export type Labels<L extends string> = Readonly<Record<L, string | number>>;
export interface Sample<L extends string = string> {
  readonly labels: Labels<L>;
  readonly value: number;
}

type Given<L extends string> = [L] extends [never] ? [labels?: Readonly<Record<string, never>>] : [labels: Labels<L>];

/**
 * Only grows. Name it `..._total`. Where the labels are known beforehand, count 0 of each first (`inc(labels, 0)`): Prometheus takes the first value that it sees of a
 * counter for where it began, so that what a counter is born with raises no alert.
 */
export interface Counter<L extends string = never> {
  inc(...args: [...Given<L>, by?: number]): void;
}

/** A value that is set. */
export interface Gauge<L extends string = never> {
  set(value: number, ...labels: Given<L>): void;
  remove(...labels: Given<L>): void;
}

export interface Histogram<L extends string = never> {
  observe(value: number, ...labels: Given<L>): void;
}

/** Seconds, from 0.1 ms to 10 s. */
const secondsBuckets: readonly number[] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const NONE = {};
/** A number alone has no labels. */
const samplesOf = (now: number | Iterable<Sample>): Iterable<Sample> => (typeof now === "number" ? [{ labels: NONE, value: now }] : now);

export class Metrics {
  private readonly registry = new Registry();
  private readonly reads = new Map<string, () => number | Iterable<Sample>>();

  /** @throws Error when the name is taken, or no metric name. */
  counter<L extends string = never>(name: string, about: string, labels: readonly L[] = []): Counter<L> {
    this.mustBeFree(name);
    const counter = new PromCounter<string>({ name, help: about, labelNames: labels, registers: [this.registry] });
    const inc = (given: object = NONE, by?: number): void => counter.inc(given, by);
    return { inc } as unknown as Counter<L>;
  }

  /** A counter whose values somebody else keeps: `read` gives them when the metrics are asked for. @throws Error when the name is taken, or no metric name. */
  counted(name: string, about: string, read: () => Iterable<Sample>, labels: readonly string[] = []): void {
    this.mustBeFree(name);
    new PromCounter<string>({
      name, help: about, labelNames: labels, registers: [this.registry],
      collect() {
        this.reset();
        for (const sample of samplesOf(read())) this.inc(sample.labels, sample.value);
      },
    });
    this.reads.set(name, read);
  }

  /** `read` gives the value, or one for each set of labels, when the metrics are asked for. @throws Error when the name is taken, or no metric name. */
  gauge<L extends string = never>(name: string, about: string, read?: () => number | Iterable<Sample<L>>, labels: readonly L[] = []): Gauge<L> {
    this.mustBeFree(name);
    const gauge = new PromGauge<string>({
      name, help: about, labelNames: labels, registers: [this.registry],
      ...(read === undefined ? {} : {
        collect(): void {
          this.reset(); // labels that are gone are gone from the answer
          for (const sample of samplesOf(read())) this.set(sample.labels, sample.value);
        },
      }),
    });
    if (read !== undefined) this.reads.set(name, read);
    return { set: (value: number, given: object = NONE) => gauge.set(given, value), remove: (given?: object) => gauge.remove({ ...given }) };
  }

  /** @throws Error when the name is taken, or no metric name. */
  histogram<L extends string = never>(name: string, about: string, labels: readonly L[] = [], buckets: readonly number[] = secondsBuckets): Histogram<L> {
    this.mustBeFree(name);
    const histogram = new PromHistogram<string>({ name, help: about, labelNames: labels, buckets: [...buckets], registers: [this.registry] });
    return { observe: (value: number, given: object = NONE) => histogram.observe(given, value) };
  }

  /** Also tells of the process itself: CPU, memory, file descriptors, event loop lag, garbage collection (`process_...`, `nodejs_...`). */
  collectProcess(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  /** What a counter or gauge says now, all of its samples that have these labels added up; 0 without any. At once, unlike `text`. */
  value(name: string, labels: Readonly<Record<string, string | number>> = {}): number {
    const read = this.reads.get(name);
    // prom-client's own samples: its public way to them is asynchronous
    const held = (this.registry.getSingleMetric(name) as unknown as { readonly hashMap?: Readonly<Record<string, Sample>> } | undefined)?.hashMap ?? {};
    const wanted = Object.entries(labels);
    let sum = 0;
    for (const sample of read === undefined ? Object.values(held) : samplesOf(read())) if (wanted.every(([label, value]) => String(sample.labels[label]) === String(value))) sum += sample.value;
    return sum;
  }

  private mustBeFree(name: string): void {
    if (this.registry.getSingleMetric(name) !== undefined) throw new Error(`two metrics are named ${name}`);
  }

  /** Text exposition format 0.0.4. */
  text(): Promise<string> {
    return this.registry.metrics();
  }
}
