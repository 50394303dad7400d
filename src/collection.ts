// Memory that comes back. V8 collects its old generation when that is up to four times as large as what lived after the last time: what a burst leaves
// behind (a hostile switch, a plan, a long list) stays for hours in a controller that has little to do. Where much has come since the last
// collection, V8 is asked for one of its own kind: concurrent, in steps. It then gives back to the system by itself what it does not need.
// A heap that is large anyway is left to V8, as marking it costs seconds of a core.
import { constants, PerformanceObserver, type NodeGCPerformanceDetail, type PerformanceEntry } from "node:perf_hooks";
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const MIB = 1024 * 1024;

export interface CollectionOptions {
  /** How often it is looked, in ms. */
  readonly everyMs?: number;
  /** What may have come since the last collection, in bytes, and as a part of what was there then. */
  readonly moreBytes?: number;
  readonly morePart?: number;
  /** Beyond so many bytes V8 is left alone. */
  readonly largeBytes?: number;
}

export interface Collection {
  /** How often V8 was asked. */
  readonly asked: number;
  stop(): void;
}

/** Percent of the way from the size after a collection to where V8 would begin the next by itself; 0: all of it. */
const trigger = (percent: number): void => setFlagsFromString(`--incremental-marking-soft-trigger=${percent}`);

/** Of the old generation and of buffers; what is young is collected soon in any case. */
function held(): number {
  let bytes = getHeapStatistics().external_memory;
  for (const { space_name, space_used_size } of getHeapSpaceStatistics()) if (!space_name.startsWith("new_")) bytes += space_used_size;
  return bytes;
}

function exposedGc(): (options: { type: "minor" }) => void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as (options: { type: "minor" }) => void;
  setFlagsFromString("--no-expose-gc");
  return gc;
}

/** Of this process, until it is stopped. */
export function collectWhatBurstsLeave({ everyMs = 10_000, moreBytes = 16 * MIB, morePart = 1 / 4, largeBytes = 512 * MIB }: CollectionOptions = {}): Collection {
  const gc = exposedGc();
  let before = held();
  let asking = false;
  let asked = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if ((entry as PerformanceEntry & { readonly detail: NodeGCPerformanceDetail }).detail.kind !== constants.NODE_PERFORMANCE_GC_MAJOR) continue;
      before = held();
      if (asking) trigger(0);
      asking = false;
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const timer = setInterval(() => {
    const now = held();
    before = Math.min(before, now); // buffers are freed, and pages swept, some time after a collection has ended
    if (!asking && (now < before + Math.max(moreBytes, before * morePart) || now > largeBytes)) return;
    if (!asking) {
      asked++;
      trigger(1);
    }
    asking = true;
    gc({ type: "minor" }); // at the end of which V8 looks; in a process with little to do that would be minutes from now
  }, everyMs);
  timer.unref();
  return {
    get asked() {
      return asked;
    },
    stop(): void {
      clearInterval(timer);
      observer.disconnect();
      trigger(0);
    },
  };
}
