// A service asks somebody outside, by a UDP datagram or a message over TCP: each exchange has a socket of its own that hears one peer alone, so that nobody else can answer for it.
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, isIPv6 } from "node:net";
import { FetchError, type Endpoint, type ExchangeOptions } from "#app";
import { endpointOf } from "../app/settings.ts";
import type { Clock } from "../lib/clock.ts";
import { framed, MESSAGE_MAX, Messages } from "../lib/tcp/messages.ts";

/** One exchange on the network: what it is called with until it is closed. */
export interface Exchange {
  close(): void;
}

/** What carries exchanges: the machine's network, or a simulation's. */
export interface ExchangeNetwork {
  /** Sends a datagram; `heard` gets all that comes back from there, `failed` why nothing can. */
  open(to: Endpoint, data: Uint8Array, heard: (data: Buffer) => void, failed: (error: Error) => void): Exchange;
  /** The same by TCP, each message behind its length in two bytes. */
  openStream(to: Endpoint, data: Uint8Array, heard: (data: Buffer) => void, failed: (error: Error) => void): Exchange;
  nameServers(): readonly Endpoint[];
}

const DNS_PORT = 53;

export const machineExchanges: ExchangeNetwork = {
  open(to, data, heard, failed) {
    const socket = createSocket(isIPv6(to.address) ? "udp6" : "udp4");
    let open = true;
    const close = (): void => {
      if (open) socket.close();
      open = false;
    };
    socket.on("error", failed).on("message", (message) => heard(message));
    // Connected: the kernel gives it what comes from there alone, and says so if nobody listens.
    socket.connect(to.port, to.address, () => {
      if (!open) return;
      socket.send(data, (error) => {
        if (error !== null) failed(error);
      });
    });
    return { close };
  },
  openStream(to, data, heard, failed) {
    // Before there is a socket: whatever throws leaves none open.
    const question = framed(data);
    const answers = new Messages();
    const socket = connect({ host: to.address, port: to.port });
    socket.on("error", failed).on("close", () => failed(new Error("it closed the connection"))).on("connect", () => socket.write(question));
    socket.on("data", (chunk: Buffer) => {
      answers.push(chunk);
      for (let answer = answers.next(); answer !== undefined; answer = answers.next()) heard(answer);
    });
    return { close: () => socket.destroy() };
  },
  nameServers: () => getServers().flatMap((text) => endpointOf(text, DNS_PORT) ?? []),
};

const TIMEOUT_MS = 5000;
const UNDER_WAY = 256;

export class Exchanges {
  private readonly clock: Pick<Clock, "setTimeout">;
  private readonly network: ExchangeNetwork;
  private readonly limit: number;
  private readonly ends = new Set<(error: FetchError) => void>();
  private stopped = false;

  constructor(clock: Pick<Clock, "setTimeout">, network: ExchangeNetwork = machineExchanges, limit = UNDER_WAY) {
    this.clock = clock;
    this.network = network;
    this.limit = limit;
  }

  /** @throws FetchError */
  async exchange(to: Endpoint, data: Uint8Array, { timeoutMs = TIMEOUT_MS, accept = () => true, signal, overTcp = false }: ExchangeOptions = {}): Promise<Buffer> {
    const name = isIPv6(to.address) ? `[${to.address}]:${to.port}` : `${to.address}:${to.port}`;
    if (this.stopped) throw new FetchError("STOPPED", "the service is stopped");
    if (!(timeoutMs > 0 && Number.isFinite(timeoutMs))) throw new FetchError("INVALID", `timeoutMs ${timeoutMs}: a number of milliseconds above 0 is needed`);
    if (!(Number.isInteger(to.port) && to.port > 0 && to.port <= 0xffff)) throw new FetchError("INVALID", `${name}: there is no such port`);
    if (overTcp && data.length > MESSAGE_MAX) throw new FetchError("INVALID", `a message of ${data.length} bytes: by TCP ${MESSAGE_MAX} are the most`);
    if (this.ends.size >= this.limit) throw new FetchError("QUEUE_FULL", `${this.ends.size} exchanges wait for their answers already`);
    let end: (error: FetchError) => void = () => undefined;
    let exchange: Exchange | undefined;
    const stop = (): void => end(new FetchError("STOPPED", "it is not wanted any more"));
    if (signal?.aborted === true) throw new FetchError("STOPPED", "it is not wanted any more");
    signal?.addEventListener("abort", stop);
    const cancel = this.clock.setTimeout(() => end(new FetchError("TIMEOUT", `no answer of ${name} in ${timeoutMs} ms`)), timeoutMs);
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        end = reject;
        this.ends.add(end);
        const heard = (answer: Buffer): void => {
          if (accept(answer)) resolve(answer);
        };
        const failed = (error: Error): void => reject(new FetchError("UNREACHABLE", `${name} cannot be asked: ${error.message}`, error));
        exchange = overTcp ? this.network.openStream(to, data, heard, failed) : this.network.open(to, data, heard, failed);
      });
    } finally {
      cancel();
      signal?.removeEventListener("abort", stop);
      this.ends.delete(end);
      exchange?.close();
    }
  }

  nameServers(): readonly Endpoint[] {
    return this.network.nameServers();
  }

  /** Ends all exchanges. */
  stop(): void {
    this.stopped = true;
    for (const end of [...this.ends]) end(new FetchError("STOPPED", "the service is stopped"));
  }
}
