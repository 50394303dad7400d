// Tells receivers of attached ports. What is to be told is what is attached and not yet known to be told: whatever fails, crashes or
// moves to another controller, the next look finds it. A receiver may hear of one twice, always with the same idempotency key.
import type { ServiceDecl, ServiceHost } from "#app";
import { attachmentTable, type Attachment } from "../../../../apps/l2/model.ts";
import { beaconTable, toldTable, type Beacon } from "./model.ts";

/** Between looks at everything, for what other controllers left behind. */
const LOOK_S = 30;
const FIRST_RETRY_S = 1;
const LONGEST_RETRY_S = 60;
/** More than these are left to a later look. */
const MOST_AT_ONCE = 256;

const toldId = (beacon: string, attachment: string): string => `${beacon}/${attachment}`;

export const beacons: ServiceDecl = {
  name: "beacons",
  about: "posts to receivers when a port becomes attached",
  start(host) {
    const teller = new Teller(host);
    host.onCommit([attachmentTable, beaconTable], (changes) => {
      for (const { table, id, after } of changes) {
        if (table.name === beaconTable.name) teller.look();
        else if (after !== undefined) teller.attached(after as Attachment);
        else teller.forget(id);
      }
    });
    host.every(LOOK_S, () => teller.look());
    host.after(0, () => teller.look());
    return undefined;
  },
};

class Teller {
  private readonly host: ServiceHost;
  /** Being told, or waiting to be told again. */
  private readonly busy = new Set<string>();

  constructor(host: ServiceHost) {
    this.host = host;
  }

  look(): void {
    const { view } = this.host;
    for (const at of view.all(attachmentTable)) this.attached(at);
    for (const { attachment_id } of view.all(toldTable)) if (view.get(attachmentTable, attachment_id) === undefined) this.forget(attachment_id);
  }

  attached(at: Attachment): void {
    for (const beacon of this.host.view.all(beaconTable)) this.tell(beacon.id, at.id, 0);
  }

  /** Attached again, it is told of again. */
  forget(attachment: string): void {
    if (!this.host.acts(attachment) || this.host.view.count(toldTable, "attachment", attachment) === 0) return;
    void this.host.transact("forgetting a detached port", (tx) => {
      for (const { id } of tx.by(toldTable, "attachment", attachment)) tx.delete(toldTable, id);
    }).catch((error: unknown) => this.host.log.warn({ err: error, attachment }, "not forgotten; the next look tries again"));
  }

  /** What is still to be told, and by this controller. */
  private due(beaconId: string, attachmentId: string): { readonly beacon: Beacon; readonly at: Attachment } | undefined {
    const { view } = this.host;
    const beacon = view.get(beaconTable, beaconId);
    const at = view.get(attachmentTable, attachmentId);
    if (beacon === undefined || at === undefined || !this.host.acts(attachmentId)) return undefined;
    return view.get(toldTable, toldId(beaconId, attachmentId))?.chassis === at.chassis ? undefined : { beacon, at };
  }

  private tell(beaconId: string, attachmentId: string, failures: number): void {
    const id = toldId(beaconId, attachmentId);
    const due = this.due(beaconId, attachmentId);
    if (due === undefined || this.busy.has(id) || this.busy.size >= MOST_AT_ONCE) return;
    this.busy.add(id);
    void this.post(due.beacon, due.at).then(
      () => {
        this.busy.delete(id);
        this.tell(beaconId, attachmentId, 0); // it may have moved meanwhile
      },
      (error: unknown) => {
        const wait = Math.min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** failures) * (0.5 + this.host.random.next() / 2);
        this.host.log.warn({ err: error, beacon: beaconId, attachment: attachmentId, retryS: wait }, "a beacon was not taken");
        this.host.after(wait, () => {
          this.busy.delete(id);
          this.tell(beaconId, attachmentId, failures + 1);
        });
      },
    );
  }

  /** @throws FetchError, Error when the receiver did not take it or that could not be written down */
  private async post(beacon: Beacon, at: Attachment): Promise<void> {
    const { status } = await this.host.fetch(beacon.url, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": `${at.id}@${at.chassis}` },
      body: JSON.stringify({ port_id: at.port_id, network_id: at.network_id, chassis: at.chassis }),
    });
    if (status < 200 || status > 299) throw new Error(`the receiver answered ${status}`);
    await this.host.transact("a beacon was taken", (tx) => {
      // Gone while it was told: nothing to remember.
      if (tx.get(beaconTable, beacon.id) !== undefined) tx.put(toldTable, { id: toldId(beacon.id, at.id), beacon_id: beacon.id, attachment_id: at.id, chassis: at.chassis });
    });
  }
}
