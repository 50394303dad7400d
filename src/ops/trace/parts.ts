// What a tracer is made of.
import type { AnyTable, App, Ask, LiveView } from "#app";
import type { Engine } from "../../compiler/engine.ts";
import type { Clock } from "../../lib/clock.ts";
import type { HookGuard } from "../../lib/hook-guard.ts";
import type { Layout } from "../../pipeline/layout.ts";
import type { PastFlows } from "../flows/past.ts";
import type { Switches } from "./switch-view.ts";

export interface TracerParts {
  readonly apps: readonly App[];
  /** Every table, also derived ones. */
  readonly tables: readonly AnyTable[];
  /** With facts. */
  readonly view: LiveView;
  readonly engine: Engine;
  readonly layout: Layout;
  readonly guard: HookGuard;
  /** What apps answer each other. */
  readonly ask: Ask;
  readonly clock: Clock;
  /** Undefined: nothing of the past is kept. */
  readonly past?: Pick<PastFlows, "during">;
  /** Undefined: there are no switches to ask. */
  readonly switches?: Switches;
}

