// What controllers keep in etcd beside the store (src/store/etcd/keys.ts), after all of its keys, each under the lease of who wrote it:
//
//   PREFIX/up/member/NAME    what the controller NAME says of itself, as JSON
//   PREFIX/up/TOPIC/NAME     what it tells the others of a topic, as JSON
//
// and what all of them go by, which stays:
//
//   PREFIX/up/term/floor     what all terms are above (cluster.ts), as JSON

export class ClusterKeys {
  /** The range of all of them. */
  readonly all: { readonly key: string; readonly rangeEnd: string };
  readonly members: { readonly key: string; readonly rangeEnd: string };
  readonly floor: string;

  constructor(prefix: string) {
    this.all = range(`${prefix}/up/`);
    this.members = range(`${this.all.key}member/`);
    this.floor = this.of("term", "floor");
  }

  of(topic: string, name: string): string {
    return `${this.all.key}${topic}/${name}`;
  }

  /** Of a key of this range. */
  read(key: string): { readonly topic: string; readonly name: string } {
    const rest = key.slice(this.all.key.length);
    const slash = rest.indexOf("/");
    return { topic: rest.slice(0, slash), name: rest.slice(slash + 1) };
  }
}

/** Keys that begin with this, which ends in "/". */
const range = (start: string): { readonly key: string; readonly rangeEnd: string } => ({ key: start, rangeEnd: `${start.slice(0, -1)}0` });
