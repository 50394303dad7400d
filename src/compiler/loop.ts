// Between commits and the engine: commits only mark; one loop turns all that came since its last turn into one batch.
// So an API call never waits for the compiler, and a burst of calls costs one pass and one bundle per switch.
import type { Change, Commit, Model } from "../model/model.ts";
import type { Engine } from "./engine.ts";

export class CompilerLoop {
  private readonly engine: Engine;
  private changes: Change[] = [];
  private generation = 0;
  private scheduled = false;
  private readonly unsubscribe: () => void;
  private readonly onError: (error: unknown) => void;

  constructor(model: Model, engine: Engine, onError: (error: unknown) => void) {
    this.engine = engine;
    this.onError = onError;
    this.unsubscribe = model.onCommit((commit) => this.note(commit));
  }

  private note(commit: Commit): void {
    for (const change of commit.changes) this.changes.push(change);
    this.generation = commit.generation;
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.turn());
  }

  /** Whether something that was committed is still to be compiled. */
  get pending(): boolean {
    return this.scheduled;
  }

  /** Compiles what was committed now, in the caller's turn. */
  catchUp(): void {
    if (this.scheduled) this.turn();
  }

  private turn(): void {
    if (!this.scheduled) return; // somebody could not wait
    this.scheduled = false;
    const changes = this.changes;
    this.changes = [];
    try {
      this.engine.apply({ generation: this.generation, changes });
    } catch (error) {
      this.onError(error);
    }
  }

  /** Until what was committed is compiled. */
  async settled(): Promise<void> {
    while (this.scheduled) await new Promise((done) => setImmediate(done));
  }

  stop(): void {
    this.unsubscribe();
  }
}
