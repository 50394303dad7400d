// Requests that want to see what was written elsewhere: `X-Axion-Min-Generation` holds one until this controller has heard of that generation and
// worked out what follows from it. Of several controllers on one store each hears of others' writes a moment later.
import { ApiError, invalidInput, type Caller } from "../../app/contract.ts";
import type { Model } from "../../model/model.ts";
import { Places } from "./places.ts";

export interface ReachedLimits {
  /** Requests that are held at once, and of one project. */
  readonly held: number;
  readonly ofProject: number;
  readonly ms: number;
}
export const reachedLimits: ReachedLimits = { held: 1024, ofProject: 128, ms: 5000 };

/** Between two looks whether what was committed is compiled. */
const LOOK_MS = 2;

export class Reached {
  private readonly model: Pick<Model, "generation" | "onCommit">;
  private readonly compiled: () => number;
  private readonly limits: ReachedLimits;
  private readonly places: Places;
  private readonly held = new Set<{ readonly generation: number; readonly end: () => void }>();
  private readonly undo: () => void;
  private looking: NodeJS.Timeout | undefined;

  constructor(model: Pick<Model, "generation" | "onCommit">, compiled: () => number = () => model.generation, limits: ReachedLimits = reachedLimits) {
    this.model = model;
    this.compiled = compiled;
    this.limits = limits;
    this.places = new Places({ all: limits.held, ofProject: limits.ofProject }, {
      full: () => new ApiError(503, "ServiceUnavailable", "Too many requests wait for changes of other controllers. Try again.", 1),
      ofProject: (mine) => new ApiError(429, "TooManyRequests", `${mine} requests of the project wait for changes of other controllers already. Try again.`, 1),
    });
    this.undo = model.onCommit(() => this.look());
  }

  get size(): number {
    return this.held.size;
  }

  /** All up to it is what this controller shows. */
  get generation(): number {
    return Math.min(this.model.generation, this.compiled());
  }

  /** undefined: it is there. Resolves to whether it is there, after a while at most. @throws ApiError 503 or 429 when too many wait */
  until(generation: number, caller: Caller): Promise<boolean> | undefined {
    if (this.generation >= generation) return undefined;
    const leave = this.places.enter(caller);
    return new Promise((resolve) => {
      const one = { generation, end: (): void => {
        clearTimeout(late);
        this.held.delete(one);
        leave();
        resolve(this.generation >= generation);
      } };
      const late = setTimeout(() => one.end(), this.limits.ms);
      this.held.add(one);
      this.look();
    });
  }

  /** Holds a request that says which generation it wants to see; undefined: it need not wait. @throws ApiError, also later: 503 when it is not there in time */
  wanted(header: string | undefined, caller: Caller): Promise<void> | undefined {
    if (header === undefined) return undefined;
    if (!/^\d{1,15}$/.test(header)) throw invalidInput(`X-Axion-Min-Generation: '${header.slice(0, 64)}' is not a generation`);
    return this.until(Number(header), caller)?.then((there) => {
      if (!there) throw new ApiError(503, "ServiceUnavailable", `Generation ${header} is not known here yet, the newest is ${this.generation}; nothing was done. Try again.`, 1);
    });
  }

  private look(): void {
    if (this.held.size === 0) return;
    for (const one of this.held) if (one.generation <= this.generation) one.end();
    // What is committed is compiled in a turn of its own.
    if (this.held.size > 0 && this.compiled() < this.model.generation) {
      this.looking ??= setTimeout(() => {
        this.looking = undefined;
        this.look();
      }, LOOK_MS);
    }
  }

  /** Answers all that wait. */
  close(): void {
    this.undo();
    clearTimeout(this.looking);
    for (const one of [...this.held]) one.end();
  }
}
