// What every command of `axion` works with.
import type { OpsApi } from "./ops-api.ts";

/** Where a command writes. */
export interface Output {
  /** Resolves when more may be written. */
  readonly write: (text: string) => Promise<void>;
  readonly error: (text: string) => void;
  /** It is a terminal, whose reader wants colours. */
  readonly color?: boolean;
  /** Characters of a line of it; undefined: it is no terminal, and lines may be of any length. */
  readonly columns?: number | undefined;
}

export interface Call {
  readonly api: OpsApi;
  /** JSON for programs is asked for. */
  readonly json: boolean;
  readonly color: boolean;
  readonly columns: number | undefined;
  readonly write: (text: string) => Promise<void>;
  /** A line beside the answer. */
  readonly warn: (text: string) => void;
}
