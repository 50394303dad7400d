// Lists: a short one is worked out at once; a longer one in slices on a snapshot, so that it holds nobody up and its stored rows are still
// of one instant (what is derived or learned is as it is when it is read);
// of the longest only so many at a time.
import type { Caller, LiveView, ReadView, StandardRow } from "../../app/contract.ts";
import type { Model } from "../../model/model.ts";
import { viewOf } from "../computed.ts";
import type { Kind } from "../kinds.ts";
import type { ListQuery } from "../query.ts";
import type { ShownView } from "../shown.ts";
import { Selection, type Entry } from "./select.ts";
import { Slices } from "./slices.ts";
import { Slots } from "./slots.ts";

/** Rows that are looked at in one go, and from which on a list is one of the long ones that are counted. */
const SHORT = 250;
const LONG = 5000;
/** Rows up to which texts are kept for the next list: of one of more, none would be there still when it is asked for again. */
const KEPT = 12_000;

export interface ListLimits {
  /** Long lists that are worked on at once, and that wait. */
  readonly atOnce: number;
  readonly waiting: number;
  readonly stallMs: number;
}

/** What a list is of. */
export interface Asked {
  readonly kind: Kind;
  readonly caller: Caller;
  readonly query: ListQuery;
  /** @throws ApiError if the parent is not there */
  readonly within: (view: ReadView) => { readonly attribute: string; readonly id: string } | undefined;
}

export interface ShortList {
  readonly long: false;
  readonly selection: Selection;
  readonly page: readonly Entry[];
}

export interface LongList {
  readonly long: true;
  /** Whether texts of its rows are worth keeping for the next list. */
  readonly keep: boolean;
  readonly selection: Selection;
  readonly slices: Slices;
  page(stopped: () => boolean): Promise<readonly Entry[]>;
  /** @throws Error if more has changed than the snapshot holds */
  check(): void;
  close(): void;
}

export class Lists {
  readonly slots: Slots;
  private readonly model: Pick<Model, "snapshot">;
  private readonly view: ShownView;
  readonly limits: ListLimits;

  constructor(model: Pick<Model, "snapshot">, view: ShownView, limits: ListLimits) {
    this.model = model;
    this.view = view;
    this.limits = limits;
    this.slots = new Slots(limits.atOnce, limits.waiting);
  }

  /** A long one is to be closed. @throws ApiError */
  async open(asked: Asked): Promise<ShortList | LongList> {
    const first = this.select(asked, this.view);
    const rows = first.candidates();
    if (rows.length <= SHORT) return { long: false, selection: first, page: first.now(rows) };
    let candidates: readonly StandardRow[] | undefined = rows;
    let release = rows.length <= LONG ? (): void => undefined : this.slots.tryTake();
    if (release === undefined) {
      release = await this.slots.take();
      candidates = undefined; // others may have committed meanwhile
    }
    const free = release;
    const snapshot = this.model.snapshot();
    const close = (): void => {
      snapshot.close();
      free();
    };
    try {
      // Which rows: in one turn, as no snapshot can be walked while rows below it change.
      const selection = this.select(asked, this.view.now(snapshot.view));
      const these = candidates ?? selection.candidates();
      const slices = new Slices();
      return {
        long: true,
        keep: rows.length <= KEPT,
        selection,
        slices,
        page: (stopped) => selection.inSlices(these, slices, stopped),
        check: () => {
          if (snapshot.stale) throw new Error("a list was read so slowly that what it is of is no longer kept");
        },
        close,
      };
    } catch (error) {
      close();
      throw error;
    }
  }

  private select({ kind, caller, query, within }: Asked, view: LiveView): Selection {
    const parent = within(view);
    return new Selection(kind, viewOf(kind, view, caller, query.filters, parent), caller, query, parent);
  }
}
