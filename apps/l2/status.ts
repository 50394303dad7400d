// The status of ports that have no interface of their own: where another app attaches them (a sub-port behind the interface of its
// parent), or serves them itself (those of a router). It follows their attachment, or the hosts that have what serves them: BUILD when it is there,
// ACTIVE when its flows are confirmed by the switches concerned, DOWN when it is gone.
// Ports that are plugged follow their interface (`vif` in api.ts); what changes around one, so that its network reaches its host or does
// not any more, is noticed here.
import { vifTable, type Cancel, type ServiceDecl, type ServiceHost } from "#app";
import { bumpPort, setStatus, updateStatus, vifOf } from "./api.ts";
import { attachmentTable, activeAttachment, portStatusTable, portTable, providedPortTable, statusNowhere, type Attachment, type Port, type PortStatus, type ProvidedPort } from "./model.ts";

/** Ports that are written in one transaction. */
const AT_ONCE = 500;
const RETRY_S = 5;

/** What a status should be, and the chassis whose switch has yet to confirm what it waits for. */
interface Wanted {
  readonly status: PortStatus;
  readonly waitsFor?: string;
}

export const portStatus: ServiceDecl = {
  name: "port-status",
  about: "ports that others attach or serve: their status follows where that is",
  start(host) {
    const follower = new Follower(host);
    host.onCommit([attachmentTable, providedPortTable, portStatusTable], (changes, generation) => {
      // A change of the status alone waits for no other flows than before.
      const ports = new Map<string, number>();
      for (const { table, id, before, after } of changes) {
        if (table !== portStatusTable) ports.set(((after ?? before) as Attachment | ProvidedPort).port_id, generation);
        else if (!ports.has(id)) ports.set(id, 1);
      }
      for (const [port, since] of ports) follower.look(port, since);
    });
    for (const { port_id: port } of host.view.all(attachmentTable)) follower.look(port, 1);
    for (const { port_id: port } of host.view.all(providedPortTable)) follower.look(port, 1);
    for (const { id, status } of host.view.all(portStatusTable)) {
      const port = host.view.get(portTable, id);
      if (port !== undefined && status !== statusNowhere(port).status) follower.look(id, 1);
    }
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
  /** Ports that wait for one switch after another, each of which may be lost. */
  private readonly patient = new Set<string>();
  private stopLooking: Cancel | undefined;

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
    if (this.patient.size === 0) {
      this.stopLooking?.();
      this.stopLooking = undefined;
    } else this.stopLooking ??= this.host.every(RETRY_S, () => this.lookAgain());
  }

  /** Switches that are waited for may have gone. */
  private lookAgain(): void {
    for (const port of [...this.patient]) this.look(port, 1);
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
    const { status, waitsFor } = wanted;
    if (waitsFor !== undefined) this.await(waitsFor, port, since);
    if (waitsFor !== undefined && status.host === "") this.patient.add(port);
    if (now.status === status.status && now.host === status.host) return;
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
  private wanted(id: string, generation: number): Wanted | undefined {
    const { view } = this.host;
    const port = view.get(portTable, id);
    if (port === undefined || view.count(vifTable, "iface_id", id) > 0) return undefined;
    const now = view.get(portStatusTable, id);
    const at = activeAttachment(view, id);
    if (at === undefined) return this.provided(port, now, generation);
    if (now?.status === "ACTIVE" && now.host === at.chassis) return undefined;
    const confirmed = this.host.confirmed(at.chassis) >= generation;
    return { status: { id, status: confirmed ? "ACTIVE" : "BUILD", host: at.chassis }, ...(!confirmed && { waitsFor: at.chassis }) };
  }

  /** Of a port that an app serves wherever it is needed. Once ACTIVE it stays so while that is said: a host more is no matter of the others'. */
  private provided(port: Port, now: PortStatus | undefined, generation: number): Wanted | undefined {
    const { view } = this.host;
    const [row] = view.by(providedPortTable, "port", port.id);
    if (row === undefined) return { status: statusNowhere(port) };
    if (now?.status === "ACTIVE" && now.host === "") return undefined;
    const waitsFor = (row.at ?? view.pairKeys(attachmentTable, "network_chassis", port.network_id)).find((host) => this.host.synced(host) !== undefined && this.host.confirmed(host) < generation);
    return { status: { id: port.id, status: waitsFor === undefined ? "ACTIVE" : "BUILD", host: "" }, ...(waitsFor !== undefined && { waitsFor }) };
  }

  private await(chassis: string, port: string, generation: number): void {
    const ports = this.awaiting.get(chassis) ?? new Map<string, number>();
    this.awaiting.set(chassis, ports.set(port, generation));
  }

  /** The generation that it was waiting for, wherever; 0: none. */
  private forget(port: string): number {
    let generation = 0;
    this.patient.delete(port);
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
        const wanted = ports.flatMap(([port, generation]) => this.wanted(port, generation)?.status ?? []);
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
