// Log lines of what strangers can bring about as often as they like: the first of a kind at once, then at most one a minute, which says how many more there were.
import type { Logger } from "pino";

const EVERY_MS = 60_000;

export class CountedLines {
  private readonly log: Pick<Logger, "warn">;
  private readonly everyMs: number;
  /** By message, while one was logged not long ago: how many came since, and the last of them. */
  private readonly since = new Map<string, { count: number; last: Readonly<Record<string, unknown>> }>();

  constructor(log: Pick<Logger, "warn">, everyMs = EVERY_MS) {
    this.log = log;
    this.everyMs = everyMs;
  }

  /** `message` is a constant of the code, `fields` are of this one. */
  warn(message: string, fields: Readonly<Record<string, unknown>>): void {
    const known = this.since.get(message);
    if (known !== undefined) {
      known.count++;
      known.last = fields;
      return;
    }
    this.log.warn(fields, message);
    this.since.set(message, { count: 0, last: fields });
    setTimeout(() => this.tell(message), this.everyMs).unref();
  }

  private tell(message: string): void {
    const { count, last } = this.since.get(message)!;
    this.since.delete(message);
    if (count > 1) this.log.warn({ ...last, times: count }, message);
    else if (count === 1) this.log.warn(last, message);
    if (count === 0) return;
    this.since.set(message, { count: 0, last });
    setTimeout(() => this.tell(message), this.everyMs).unref();
  }
}
