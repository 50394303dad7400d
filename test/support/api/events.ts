// A client of server-sent events, as HTML section 9.2 has them.
import { request, type IncomingMessage } from "node:http";

export interface ServerEvent {
  readonly event: string;
  readonly id: string | undefined;
  // Tests look into it freely; a wrong path fails the assertion that reads it.
  readonly data: any;
}

export class EventClient {
  readonly events: ServerEvent[] = [];
  readonly response: IncomingMessage;
  ended = false;
  private text = "";
  private waiting: (() => void)[] = [];

  private constructor(response: IncomingMessage, reads: boolean) {
    this.response = response;
    const wake = (): void => {
      for (const go of this.waiting.splice(0)) go();
    };
    const end = (): void => {
      this.ended = true;
      wake();
    };
    response.on("error", end).on("close", end);
    if (!reads) return;
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      this.text += chunk;
      for (let end = this.text.indexOf("\n\n"); end >= 0; end = this.text.indexOf("\n\n")) {
        const lines = this.text.slice(0, end).split("\n");
        this.text = this.text.slice(end + 2);
        const field = (name: string): string | undefined => lines.find((l) => l.startsWith(`${name}: `))?.slice(name.length + 2);
        const data = field("data");
        if (data !== undefined) this.events.push({ event: field("event") ?? "message", id: field("id"), data: JSON.parse(data) });
      }
      wake();
    });
  }

  /** `at`: port of this machine, or path of a socket. Resolves with the head of the answer. `reads: false`: one that takes nothing. */
  static open(at: number | string, path: string, headers: Readonly<Record<string, string>>, reads = true): Promise<EventClient> {
    return new Promise((resolve, reject) => {
      const call = request({ ...(typeof at === "string" ? { socketPath: at } : { host: "127.0.0.1", port: at }), path, headers: { accept: "text/event-stream", ...headers }, agent: false }, (response) => resolve(new EventClient(response, reads)));
      call.on("error", reject);
      call.end();
    });
  }

  get status(): number {
    return this.response.statusCode!;
  }

  /** The first event that is so, from the beginning; those before it stay as well. @throws Error if the stream ends before */
  async until(is: (event: ServerEvent) => boolean): Promise<ServerEvent> {
    for (;;) {
      const found = this.events.find(is);
      if (found !== undefined) return found;
      if (this.ended) throw new Error(`the stream has ended: ${JSON.stringify(this.events)}`);
      await new Promise<void>((go) => this.waiting.push(go));
    }
  }

  async end(): Promise<void> {
    while (!this.ended) await new Promise<void>((go) => this.waiting.push(go));
  }

  close(): void {
    this.response.destroy();
  }
}
