// Who of several controllers acts (src/cluster/mastership.ts), as services ask.
import { actorFor, keyOfChassis } from "../cluster/mastership.ts";

export class Share {
  private readonly self: string;
  private readonly live: () => readonly string[];
  /** Calls a listener when who lives is not as before. */
  readonly onChange: (listener: () => void) => () => void;

  /** `live`: ids of the controllers that live, as far as is known now. Without itself among them this one acts for nothing. */
  constructor(self: string, live: () => readonly string[], onChange: (listener: () => void) => () => void = () => () => undefined) {
    this.self = self;
    this.live = live;
    this.onChange = onChange;
  }

  acts(key: string): boolean {
    return actorFor(this.live(), key) === this.self;
  }

  masters(chassis: string): boolean {
    return this.acts(keyOfChassis(chassis));
  }
}
