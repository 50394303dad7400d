/**
 * A lock (RFC 7047 section 4.1.8) that outlives sessions: asked for on each new one, lost with each. Its state changes in
 * the order in which the server spoke: a "locked" right behind the reply that said "not yet" is not overtaken by it.
 */

import { EventEmitter } from "node:events";

import { OvsdbConnectionError, OvsdbProtocolError } from "../wire/errors.ts";
import { isObject } from "../wire/json.ts";
import type { OvsdbSession } from "../session/session.ts";

export interface LockEvents {
  /** The lock is this client's. */
  acquired: [];
  /** It no longer is: another client stole it, the session ended, or it was released here. */
  lost: [reason: "stolen" | "disconnected" | "released"];
}

/** Made by OvsdbClient.lock(). */
export class OvsdbLock extends EventEmitter<LockEvents> {
  readonly id: string;
  readonly #onReleased: () => void;
  #session: OvsdbSession | undefined;
  #held = false;
  #released = false;
  readonly #listeners = {
    locked: (id: string): void => { if (id === this.id) this.#set(true, "released"); },
    stolen: (id: string): void => { if (id === this.id) this.#set(false, "stolen"); },
    close: (): void => this.#detached(),
  };

  constructor(id: string, onReleased: () => void) {
    super();
    this.id = id;
    this.#onReleased = onReleased;
  }

  /** Whether it is this client's now, as far as the server has said. To be sure, a transaction asserts it. */
  get held(): boolean { return this.#held; }

  /** Whether release() was called. */
  get released(): boolean { return this.#released; }

  /** Resolves when it is held. @throws OvsdbConnectionError "closed" once it is released or `signal` is aborted */
  async acquired(signal?: AbortSignal): Promise<void> {
    while (!this.#held) {
      if (this.#released || signal?.aborted === true) throw new OvsdbConnectionError("closed", `the lock ${this.id} is no longer waited for`);
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.off("acquired", done);
          this.off("lost", done);
          signal?.removeEventListener("abort", done);
          resolve();
        };
        this.on("acquired", done);
        this.on("lost", done);
        signal?.addEventListener("abort", done);
      });
    }
  }

  /** Takes it from whoever has it. @throws OvsdbConnectionError "not connected" */
  async steal(): Promise<void> {
    const session = this.#session;
    if (session === undefined || this.#released) throw new OvsdbConnectionError("not connected", `the lock ${this.id} has no session`);
    if (this.#held) return;
    // a place in the queue is in the way of a request to steal
    await Promise.all([session.unlock(this.id), this.#request(session, "steal")]);
  }

  /** Gives it back, or gives up waiting; for good. */
  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    const session = this.#session;
    this.#leave();
    this.#onReleased();
    if (this.#held) this.#set(false, "released");
    else this.emit("lost", "released"); // who waits for it is told
    if (session?.open === true) await session.unlock(this.id).catch(() => undefined); // the end of the session does as well
  }

  /** For the client: asks for the lock on this session. */
  follow(session: OvsdbSession): void {
    if (this.#released || this.#session === session) return;
    this.#leave();
    this.#session = session;
    for (const event of ["locked", "stolen", "close"] as const) session.on(event, this.#listeners[event]);
    this.#request(session, "lock").catch(() => undefined); // the session ended, or the server refuses: not held
  }

  #request(session: OvsdbSession, method: "lock" | "steal"): Promise<void> {
    return new Promise((resolve, reject) => {
      session.requestSync(method, [this.id], (result) => {
        if (!isObject(result) || typeof result["locked"] !== "boolean") throw new OvsdbProtocolError("bad result", `the reply to ${method} does not say whether it is locked`);
        const locked = result["locked"];
        session.emitSafely(() => { if (this.#session === session && locked) this.#set(true, "released"); });
        resolve();
      }, (error) => { reject(error); });
    });
  }

  #set(held: boolean, reason: "stolen" | "released"): void {
    if (this.#held === held) return;
    this.#held = held;
    if (held) this.emit("acquired");
    else this.emit("lost", reason);
  }

  #leave(): void {
    for (const event of ["locked", "stolen", "close"] as const) this.#session?.off(event, this.#listeners[event]);
    this.#session = undefined;
  }

  #detached(): void {
    this.#leave();
    if (!this.#held) return;
    this.#held = false;
    this.emit("lost", "disconnected");
  }
}
