// Packets from switches, waiting for the controller's attention. Each chassis has a bounded queue of its own and they take
// turns, so a flood on one host delays and costs that host only. Between batches the event loop has its turn.

export interface PacketQueueOptions<P> {
  /** Packets that may wait per chassis; more are dropped. */
  readonly limit: number;
  readonly handle: (packet: P) => void;
  readonly dropped: (chassis: string) => void;
}

/** Packets handled in one turn of the event loop. */
const BATCH = 64;

export class PacketQueue<P> {
  private readonly options: PacketQueueOptions<P>;
  /** In the order of their turns. */
  private readonly queues = new Map<string, P[]>();
  private scheduled = false;
  private stopped = false;

  constructor(options: PacketQueueOptions<P>) {
    this.options = options;
  }

  push(chassis: string, packet: P): void {
    if (this.stopped) return;
    const queue = this.queues.get(chassis);
    if (queue === undefined) this.queues.set(chassis, [packet]);
    else if (queue.length >= this.options.limit) {
      this.options.dropped(chassis);
      return;
    } else queue.push(packet);
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.queues.clear();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      for (let n = 0; n < BATCH && this.queues.size > 0; n++) this.next();
      if (this.queues.size > 0) this.schedule();
    });
  }

  /** One packet of the chassis whose turn it is, which then goes to the end of the line. */
  private next(): void {
    const [chassis, queue] = this.queues.entries().next().value!;
    this.queues.delete(chassis);
    const packet = queue.shift()!;
    if (queue.length > 0) this.queues.set(chassis, queue);
    this.options.handle(packet);
  }
}
