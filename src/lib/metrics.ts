// Metrics in the Prometheus text format: counters, gauges and histograms with labels. A registry is made where the
// controller is made and handed down; there is no global one.

export type Labels = Readonly<Record<string, string | number>>;
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

const escape = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
const labelText = (labels: Labels, extra = ""): string => {
  const parts = Object.entries(labels).map(([k, v]) => `${k}="${escape(String(v))}"`);
  if (extra !== "") parts.push(extra);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
};
const number = (n: number): string => (n === Infinity ? "+Inf" : n === -Infinity ? "-Inf" : Number.isNaN(n) ? "NaN" : String(n));

interface Metric {
  lines(): Iterable<string>;
}

/** Only grows. Name it `..._total`. */
export class Counter implements Metric {
  private readonly values = new Map<string, number>();
  private readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  inc(labels: Labels = {}, by = 1): void {
    const key = labelText(labels);
    this.values.set(key, (this.values.get(key) ?? 0) + by);
  }

  /** The count so far, for tests. */
  value(labels: Labels = {}): number {
    return this.values.get(labelText(labels)) ?? 0;
  }

  *lines(): Iterable<string> {
    for (const [labels, value] of this.values) yield `${this.name}${labels} ${number(value)}`;
  }
}

/** A value that is set, or read when asked for. */
export class Gauge implements Metric {
  private readonly values = new Map<string, number>();
  private readonly name: string;
  private readonly read: (() => number | Iterable<Sample>) | undefined;

  constructor(name: string, read?: () => number | Iterable<Sample>) {
    this.name = name;
    this.read = read;
  }

  set(value: number, labels: Labels = {}): void {
    this.values.set(labelText(labels), value);
  }

  remove(labels: Labels): void {
    this.values.delete(labelText(labels));
  }

  *lines(): Iterable<string> {
    if (this.read !== undefined) {
      const now = this.read();
      if (typeof now === "number") yield `${this.name} ${number(now)}`;
      else for (const { labels, value } of now) yield `${this.name}${labelText(labels)} ${number(value)}`;
    }
    for (const [labels, value] of this.values) yield `${this.name}${labels} ${number(value)}`;
  }
}

/** Seconds, from 0.1 ms to 10 s. */
export const secondsBuckets: readonly number[] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

interface Series {
  readonly labels: Labels;
  /** Observations per bucket, not cumulative; the last is beyond all bounds. */
  readonly counts: number[];
  sum: number;
}

export class Histogram implements Metric {
  private readonly series = new Map<string, Series>();
  private readonly name: string;
  private readonly buckets: readonly number[];

  constructor(name: string, buckets: readonly number[] = secondsBuckets) {
    this.name = name;
    this.buckets = [...buckets].sort((a, b) => a - b);
  }

  observe(value: number, labels: Labels = {}): void {
    const key = labelText(labels);
    let s = this.series.get(key);
    if (s === undefined) this.series.set(key, (s = { labels, counts: Array<number>(this.buckets.length + 1).fill(0), sum: 0 }));
    const found = this.buckets.findIndex((b) => value <= b);
    const at = found < 0 ? this.buckets.length : found;
    s.counts[at] = s.counts[at]! + 1;
    s.sum += value;
  }

  *lines(): Iterable<string> {
    for (const { labels, counts, sum } of this.series.values()) {
      let total = 0;
      for (let i = 0; i < counts.length; i++) {
        total += counts[i]!;
        yield `${this.name}_bucket${labelText(labels, `le="${number(this.buckets[i] ?? Infinity)}"`)} ${total}`;
      }
      yield `${this.name}_sum${labelText(labels)} ${number(sum)}`;
      yield `${this.name}_count${labelText(labels)} ${total}`;
    }
  }
}

export class Metrics {
  private readonly metrics = new Map<string, { readonly type: string; readonly about: string; readonly metric: Metric }>();

  counter(name: string, about: string): Counter {
    return this.add(name, "counter", about, new Counter(name));
  }

  /** `read` gives the value, or one for each set of labels, when the metrics are asked for. */
  gauge(name: string, about: string, read?: () => number | Iterable<Sample>): Gauge {
    return this.add(name, "gauge", about, new Gauge(name, read));
  }

  histogram(name: string, about: string, buckets?: readonly number[]): Histogram {
    return this.add(name, "histogram", about, new Histogram(name, buckets));
  }

  private add<M extends Metric>(name: string, type: string, about: string, metric: M): M {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) throw new Error(`${name} is no metric name`);
    if (this.metrics.has(name)) throw new Error(`two metrics are named ${name}`);
    this.metrics.set(name, { type, about, metric });
    return metric;
  }

  /** Text exposition format 0.0.4. */
  text(): string {
    const out: string[] = [];
    for (const [name, { type, about, metric }] of this.metrics) {
      out.push(`# HELP ${name} ${about.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`, `# TYPE ${name} ${type}`);
      out.push(...metric.lines());
    }
    return `${out.join("\n")}\n`;
  }
}
