// Who is to look first when somebody asks for attributes that are shown on request: between services, which say what they look at, and the API,
// which waits for them.
import type { Cancel, Caller, Clock, Row } from "#app";

interface Listener {
  readonly resource: string;
  readonly attributes: readonly string[];
  readonly look: (rows: readonly Row[], caller: Caller) => Promise<void> | undefined;
}

/** An answer waits no longer. */
const WAIT_MS = 3000;
/** Rows of a list that are looked at. */
const ROWS = 250;

export class Asked {
  private readonly listeners = new Set<Listener>();
  private readonly clock: Pick<Clock, "setTimeout">;

  constructor(clock: Pick<Clock, "setTimeout">) {
    this.clock = clock;
  }

  listen(listener: Listener): Cancel {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Undefined: there is nothing to wait for. */
  before(resource: string, fields: ReadonlySet<string>, rows: () => readonly Row[], caller: Caller): Promise<void> | undefined {
    const looks: Promise<void>[] = [];
    for (const { resource: of, attributes, look } of this.listeners) {
      if (of !== resource || !attributes.some((name) => fields.has(name))) continue;
      const looking = look(rows().slice(0, ROWS), caller);
      if (looking !== undefined) looks.push(looking);
    }
    if (looks.length === 0) return undefined;
    let cancel: Cancel = () => undefined;
    const late = new Promise<void>((resolve) => (cancel = this.clock.setTimeout(resolve, WAIT_MS)));
    return Promise.race([late, Promise.all(looks).then(() => undefined)]).finally(() => {
      cancel();
    });
  }
}
