// What the other controllers of a cluster publish, by topic and name: of each the latest.

type Listener = (name: string, text: string | undefined) => void;

export class Topics {
  private readonly own: string;
  private readonly most: number;
  private readonly listeners = new Map<string, Listener>();
  private readonly heard = new Map<string, Map<string, string>>();

  /** `own`: whose texts are passed over. `most`: topics, and names of each. */
  constructor({ own, most }: { readonly own: string; readonly most: number }) {
    this.own = own;
    this.most = most;
  }

  /** Told of what there is, and of all that comes; undefined: nothing any more. One for each topic. */
  on(topic: string, listener: Listener): void {
    this.listeners.set(topic, listener);
    for (const [name, text] of this.heard.get(topic) ?? []) listener(name, text);
  }

  /** undefined: it says nothing any more. What is beyond the limits is passed over. */
  hear(topic: string, name: string, text: string | undefined): void {
    if (name === this.own) return;
    const texts = this.heard.get(topic) ?? new Map<string, string>();
    if (!this.heard.has(topic)) {
      if (this.heard.size >= this.most) return;
      this.heard.set(topic, texts);
    }
    if (text === undefined) texts.delete(name);
    else if (texts.has(name) || texts.size < this.most) texts.set(name, text);
    else return;
    this.listeners.get(topic)?.(name, text);
  }

  /** Forgets what is not among these, "TOPIC/NAME". */
  keep(told: ReadonlySet<string>): void {
    for (const [topic, texts] of this.heard) for (const name of [...texts.keys()]) if (!told.has(`${topic}/${name}`)) this.hear(topic, name, undefined);
  }
}
