// A port that is at another host from now on is announced from there. Its MAC and addresses are as before, so no neighbour has to learn anything, and our
// own switches know; those of physical networks learn from what they see: a reverse ARP request (RFC 903) with the port's MAC, as hypervisors send it for a
// guest that moved. Hosts pass over it.
import { Shares, type Cancel, type RowChange, type ServiceDecl, type ServiceHost } from "#app";
import { buildArp, buildEthernet } from "packet-codec";
import { attachmentTable, networkTable, portTable, type Attachment } from "../l2/model.ts";

/** Seconds after the move, again and again: the first may come before the flows. */
const AFTER_S = [0.05, 0.5, 2] as const;
/** Moves that are being announced. Each project has its share; what is beyond is left to the guests. */
const ANNOUNCING_MAX = 4096;

const RARP = 0x8035;
/** RFC 903: reverse request. */
const REVERSE = 3;
const NO_ADDRESS = "0.0.0.0";
const reverseArp = (mac: string): Buffer => buildEthernet({ dst: "ff:ff:ff:ff:ff:ff", src: mac, ethertype: RARP }, buildArp({ op: REVERSE, sha: mac, spa: NO_ADDRESS, tha: mac, tpa: NO_ADDRESS }));

export const moveAnnouncements: ServiceDecl = {
  name: "move-announcement",
  about: "ports that are at another host are announced from there",
  start(host) {
    /** What takes back an announcement, by port. */
    const announcing = new Shares<Cancel>(ANNOUNCING_MAX);
    host.onCommit([attachmentTable], (changes) => {
      for (const port of changes.flatMap(movedBy)) announce(host, announcing, port);
    });
    return undefined;
  },
};

function movedBy({ before, after }: RowChange): readonly string[] {
  const [from, to] = [before as Attachment | undefined, after as Attachment | undefined];
  return from?.role === "active" && to?.role === "active" && from.chassis !== to.chassis ? [to.port_id] : [];
}

function announce(host: ServiceHost, announcing: Shares<Cancel>, portId: string): void {
  const { view } = host;
  const project = view.get(portTable, portId)?.project_id;
  if (project === undefined) return;
  announcing.get(portId)?.();
  announcing.delete(portId);
  if (!announcing.admits(project)) {
    host.log.debug({ port: portId }, "too many ports move at once: this one is not announced");
    return;
  }
  let cancel: Cancel;
  const wait = (times: number): void => {
    cancel = host.after(AFTER_S[times]! - (AFTER_S[times - 1] ?? 0), () => {
      const port = view.get(portTable, portId);
      const at = view.get(attachmentTable, portId);
      const network = at === undefined ? undefined : view.get(networkTable, at.network_id);
      if (times + 1 < AFTER_S.length && network !== undefined) wait(times + 1);
      else announcing.delete(portId);
      if (port !== undefined && at !== undefined && network !== undefined && host.masters(at.chassis)) host.send([{ chassis: at.chassis, stage: "forward", registers: { net: network.key, in_port_key: port.key }, data: reverseArp(port.mac_address) }]);
    });
  };
  wait(0);
  announcing.put(portId, project, () => cancel())?.[1]();
}
