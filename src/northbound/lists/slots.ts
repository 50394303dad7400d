// How many long lists are worked on at once. Others wait in line, up to a limit.
import { ApiError } from "../../app/contract.ts";

export class Slots {
  private readonly max: number;
  private readonly maxWaiting: number;
  private readonly line: (() => void)[] = [];
  private taken = 0;

  constructor(max: number, maxWaiting: number) {
    this.max = max;
    this.maxWaiting = maxWaiting;
  }

  get active(): number {
    return this.taken;
  }
  get waiting(): number {
    return this.line.length;
  }

  /** What gives the slot back, if one is free. */
  tryTake(): (() => void) | undefined {
    if (this.taken >= this.max) return undefined;
    this.taken++;
    return this.release();
  }

  /** Waits for a slot. @throws ApiError 503 when the line is full */
  async take(): Promise<() => void> {
    if (this.line.length >= this.maxWaiting) throw new ApiError(503, "ServiceUnavailable", "Too many long lists are being read now; ask for pages with limit, or try again.");
    await new Promise<void>((go) => this.line.push(go));
    return this.release();
  }

  private release(): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.line.shift();
      if (next === undefined) this.taken--;
      else next();
    };
  }
}
