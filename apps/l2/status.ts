// The status of ports that have no interface of their own: where another app attaches them (a sub-port behind the interface of its
// parent). It follows their attachment: BUILD when it is there, ACTIVE when its flows are confirmed by the switch, DOWN when it is gone.
// Ports that are plugged follow their interface (`vif` in api.ts); what changes around one, so that its network reaches its host or does
// not any more, is noticed here.
import { vifTable, type Cancel, type ServiceDecl, type ServiceHost } from "#app";
import { bumpPort, setStatus, updateStatus, vifOf } from "./api.ts";
import { attachmentTable, activeAttachment, portStatusTable, portTable, type Attachment, type PortStatus } from "./model.ts";

/** Ports that are written in one transaction. */
const AT_ONCE = 500;
const RETRY_S = 5;

export const portStatus: ServiceDecl = {
  name: "port-status",
  about: "ports that others attach: their status follows their attachment",
  start(host) {
    const follower = new Follower(host);
    host.onCommit([attachmentTable, portStatusTable], (changes, generation) => {
      // A change of the status alone waits for no other flows than before.
      const ports = new Map<string, number>();
      for (const { table, id, before, after } of changes) {
        if (table === attachmentTable) ports.set(((after ?? before) as Attachment).port_id, generation);
        else if (!ports.has(id)) ports.set(id, 1);
      }
      for (const [port, since] of ports) follower.look(port, since);
    });
    for (const { port_id: port } of host.view.all(attachmentTable)) follower.look(port, 1);
    for (const { id, status } of host.view.all(portStatusTable)) if (status !== "DOWN") follower.look(id, 1);
    return undefined;
  },
};

class Follower {
  private readonly host: ServiceHost;
  /** Chassis -> port -> generation from which on its flows are there. */
  private readonly awaiting = new Map<string, Map<string, number>>();
  /** Ports whose status is to be written, with that generation. */
  private readonly due = new Map<string, number>();
  private writing = false;
  private stopListening: Cancel | undefined;

  constructor(host: ServiceHost) {
    this.host = host;
  }

  /** Something about a port changed; from `generation` on its flows are there. */
  look(port: string, generation: number): void {
    this.judge(port, generation);
    if (this.awaiting.size === 0) {
      this.stopListening?.();
      this.stopListening = undefined;
    } else this.stopListening ??= this.host.onConfirmed((confirmed, reached) => this.confirmed(confirmed, reached));
  }

  private judge(port: string, generation: number): void {
    const { view } = this.host;
    const awaited = this.forget(port);
    if (view.count(vifTable, "iface_id", port) > 0) {
      if (this.plugDiffers(port)) this.write(port, generation);
      return;
    }
    const since = Math.max(generation, awaited, this.due.get(port) ?? 0);
    const wanted = this.wanted(port, since);
    const now = view.get(portStatusTable, port);
    if (wanted === undefined || now === undefined) return;
    if (wanted.status === "BUILD") this.await(wanted.host, port, since);
    if (now.status === wanted.status && now.host === wanted.host) return;
    this.write(port, since);
  }

  /** Whether a port that is plugged should be what it is not: down, or not down. */
  private plugDiffers(id: string): boolean {
    const { view } = this.host;
    const port = view.get(portTable, id);
    const status = view.get(portStatusTable, id);
    return port !== undefined && status !== undefined && (vifOf(view, port) === undefined) !== (status.status === "DOWN");
  }

  private write(port: string, since: number): void {
    this.due.set(port, since);
    void this.writeDue();
  }

  /** undefined: it is as it should be, or none of this one's. */
  private wanted(port: string, generation: number): PortStatus | undefined {
    const { view } = this.host;
    if (view.get(portTable, port) === undefined || view.count(vifTable, "iface_id", port) > 0) return undefined;
    const at = activeAttachment(view, port);
    if (at === undefined) return { id: port, status: "DOWN", host: "" };
    const now = view.get(portStatusTable, port);
    if (now?.status === "ACTIVE" && now.host === at.chassis) return undefined;
    return { id: port, status: this.host.confirmed(at.chassis) >= generation ? "ACTIVE" : "BUILD", host: at.chassis };
  }

  private await(chassis: string, port: string, generation: number): void {
    const ports = this.awaiting.get(chassis) ?? new Map<string, number>();
    this.awaiting.set(chassis, ports.set(port, generation));
  }

  /** The generation that it was waiting for, wherever; 0: none. */
  private forget(port: string): number {
    let generation = 0;
    for (const [chassis, ports] of this.awaiting) {
      generation = Math.max(generation, ports.get(port) ?? 0);
      if (ports.delete(port) && ports.size === 0) this.awaiting.delete(chassis);
    }
    return generation;
  }

  private confirmed(chassis: string, reached: number): void {
    const ports = this.awaiting.get(chassis);
    if (ports === undefined) return;
    for (const [port, generation] of [...ports]) if (generation <= reached) this.look(port, generation);
  }

  private async writeDue(): Promise<void> {
    if (this.writing) return;
    this.writing = true;
    try {
      while (this.due.size > 0) {
        const ports = [...this.due].slice(0, AT_ONCE);
        for (const [port] of ports) this.due.delete(port);
        const wanted = ports.flatMap(([port, generation]) => this.wanted(port, generation) ?? []);
        const plugged = ports.map(([port]) => port).filter((port) => this.plugDiffers(port));
        if (wanted.length + plugged.length > 0) await this.put(wanted, plugged).catch((error: unknown) => this.again(ports, error));
      }
    } finally {
      this.writing = false;
    }
  }

  private async put(wanted: readonly PortStatus[], plugged: readonly string[]): Promise<void> {
    await this.host.transact("status of attached ports", (tx) => {
      for (const status of wanted) {
        if (tx.get(portTable, status.id) === undefined || tx.count(vifTable, "iface_id", status.id) > 0) continue;
        if (setStatus(tx, status)) bumpPort(tx, status.id);
      }
      for (const id of plugged) {
        const port = tx.get(portTable, id);
        if (port !== undefined && updateStatus(tx, port)) bumpPort(tx, id);
      }
    });
  }

  private again(ports: readonly (readonly [string, number])[], error: unknown): void {
    this.host.log.warn({ err: error, ports: ports.length }, "status of attached ports could not be written; it is tried again");
    this.host.after(RETRY_S, () => {
      for (const [port, generation] of ports) this.look(port, generation);
    });
  }
}
