// What a controller says in etcd, by key: the latest alone counts, and what etcd has not taken is kept until it does.

/** Writes a text under its key. False: nothing can be written now. */
type Write = (key: string, text: string) => Promise<boolean>;

export class Outbox {
  private readonly write: Write;
  /** What etcd has not taken yet; and what is on its way there. */
  private readonly unwritten = new Map<string, string>();
  private readonly writing = new Map<string, Promise<void>>();

  constructor(write: Write) {
    this.write = write;
  }

  /** One after the other for each key: what was said before does not come after what is said now. Rejects as `write` does; it is kept then. */
  put(key: string, text: string): Promise<void> {
    this.keep(key, text);
    let writing = this.writing.get(key);
    if (writing === undefined) this.writing.set(key, (writing = this.send(key).finally(() => this.writing.delete(key))));
    return writing;
  }

  /** To be written with the others (`again`). */
  keep(key: string, text: string): void {
    this.unwritten.set(key, text);
  }

  /** It has been written in another way. */
  wrote(key: string, text: string): void {
    if (this.unwritten.get(key) === text) this.unwritten.delete(key);
  }

  /** All that is not written. */
  again(failed: (error: Error) => void): void {
    for (const [key, text] of this.unwritten) this.put(key, text).catch(failed);
  }

  private async send(key: string): Promise<void> {
    for (let text = this.unwritten.get(key); text !== undefined; text = this.unwritten.get(key)) {
      if (!(await this.write(key, text))) return;
      this.wrote(key, text);
    }
  }
}
