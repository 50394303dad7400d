// Who of several controllers acts (src/cluster/mastership.ts), as services ask.
import { actorFor, keyOfChassis } from "../cluster/mastership.ts";

export class Share {
  private readonly self: string;
  private readonly live: () => readonly string[];
  /** Whether this one may act for a chassis now. */
  readonly masters: (chassis: string) => boolean;
  /** Calls a listener when who lives is not as before. */
  readonly onChange: (listener: () => void) => () => void;

  /** `live`: ids of the controllers that live, as far as is known now. Without itself among them this one acts for nothing. `masters`: whose hosts are; default: by their keys. */
  constructor(self: string, live: () => readonly string[], onChange: (listener: () => void) => () => void = () => () => undefined, masters?: (chassis: string) => boolean) {
    this.self = self;
    this.live = live;
    this.onChange = onChange;
    this.masters = masters ?? ((chassis) => this.acts(keyOfChassis(chassis)));
  }

  acts(key: string): boolean {
    return actorFor(this.live(), key) === this.self;
  }
}
