// The type of all actions.

import type { SubField } from "./parts.ts";
import type { ControllerAction } from "./controller.ts";
import type { CtAction, NatAction } from "./ct.ts";
import type { EncapAction } from "./encap.ts";
import type { SetAction } from "./set.ts";
import type { TableAction } from "./table.ts";
import type { LearnAction } from "./learn.ts";

export type Action =
  | Exclude<TableAction, { type: "move" }>
  | SetAction
  /** max_len: bytes sent to the controller, 0xffff (all) by default; without meaning for other ports. */
  | { readonly type: "output"; readonly port: number; readonly max_len?: number }
  /** onf: in the form of the ONF extension (copy_field); as such only decoded. */
  | { readonly type: "move"; readonly src: SubField; readonly dst: SubField; readonly onf?: true }
  /** Table 255 or none: the current one. in_port: that of the packet by default. ct: fields of the original direction. */
  | { readonly type: "resubmit"; readonly table?: number; readonly in_port?: number; readonly ct?: boolean }
  | CtAction<Action>
  | NatAction
  | ControllerAction
  | EncapAction
  | LearnAction
  | { readonly type: "dec_ttl" }
  /** Actions on a copy of the packet. */
  | { readonly type: "clone"; readonly actions: readonly Action[] }
  | { readonly type: "experimenter"; readonly experimenter: number; readonly data?: Uint8Array };
