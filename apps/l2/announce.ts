// Addresses that move to another MAC because the model says so: an interface of a router that went and one that took its address, a port
// that was deleted and made again, a pair that another port has now. Whoever talked to the old MAC is told at once by the network itself:
// gratuitous ARP (RFC 5227 section 3), unsolicited neighbour advertisements (RFC 4861 section 7.2.6). What a VM itself announces needs
// nothing of this in its network. Routers follow it: who took an address that is another port's own is stored.
import { isIpv6, PacketRateError, Shares, type Cancel, type LiveView, type PacketIn, type RowChange, type ServiceDecl, type ServiceHost, type StageOut } from "#app";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "packet-codec";
import { activeAttachment, addressHolderTable, addressId, addressTable, attachmentTable, hasPair, isAnothers, isNetworkPort, isRouterPort, macOfPair, networkTable, portTable, senderOf, singleAddress, toAllPorts, toPort, type Address, type Attachment, type Port } from "./model.ts";
import { saidIn } from "./said.ts";

/** Seconds after which it is said, again and again: the first may come before the flows, or to hosts that believe nobody twice in a second. */
const AFTER_S = [0.15, 1.3, 4] as const;
/** Addresses without a MAC that are remembered, those lost last, and for how long: hosts keep neighbours for minutes. Each project has its share of both bounds. */
const LOST_MAX = 65_536;
const LOST_S = 3600;
/** Addresses whose announcement is going on; what is beyond is left to the hosts, which ask again after half a minute. */
const ANNOUNCING_MAX = 4096;

/** Who has an address, as far as the model says. */
interface Holder {
  readonly ip: string;
  readonly port: Port;
  readonly mac: string;
}

export const addressAnnouncements: ServiceDecl = {
  name: "address-announcement",
  about: "addresses that another MAC has now are announced to their network",
  start(host) {
    const announcer = new Announcer(host);
    host.onCommit([portTable, attachmentTable, addressTable], (changes) => announcer.changed(changes));
    host.onPacket("announced", (packet) => heard(host, packet), { owner: (packet) => senderOf(host.view, packet)?.project_id });
    return undefined;
  },
};

/** A port announced an address: if it is another's own that it has as a pair, it took it; if it is its own, it has it again. */
async function heard(host: ServiceHost, packet: PacketIn): Promise<void> {
  const { view } = host;
  const port = senderOf(view, packet);
  const said = saidIn(packet.data);
  if (port === undefined || said?.toAll !== true) return;
  const id = addressId(port.network_id, said.ip);
  const own = view.get(addressTable, id)?.port_id;
  const now = view.get(addressHolderTable, id);
  const back = own === port.id && said.mac === port.mac_address;
  if (own === undefined || (back ? now === undefined : (now?.port_id === port.id && now.mac === said.mac && now.owner_id === own) || !hasPair(port, said.ip, said.mac) || isAnothers(view, port, said.mac))) return;
  try {
    await host.transact(back ? "a port announced that it has its address again" : "a port announced that it has another's address", (tx) => {
      const after = tx.get(portTable, port.id);
      if (tx.get(addressTable, id)?.port_id !== own) return;
      if (back) tx.delete(addressHolderTable, id);
      else if (after !== undefined && hasPair(after, said.ip, said.mac)) tx.put(addressHolderTable, { id, port_id: port.id, mac: said.mac, owner_id: own });
    });
  } catch (error) {
    if (!(error instanceof PacketRateError)) throw error;
    host.log.debug({ port: port.id, address: said.ip }, "a port announces more often than is taken notice of");
  }
}

class Announcer {
  private readonly host: ServiceHost;
  /** MACs that addresses had last, the longest ago first, by the project of who had them. */
  private readonly lost = new Shares<{ readonly mac: string; readonly atMs: number }>(LOST_MAX);
  /** What takes back an announcement that is going on, by the project of who has the address. */
  private readonly announcing = new Shares<() => void>(ANNOUNCING_MAX);

  constructor(host: ServiceHost) {
    this.host = host;
  }

  changed(changes: readonly RowChange[]): void {
    const { view } = this.host;
    const before = new Map(changes.flatMap((c) => (c.table === portTable && c.before !== undefined ? [[c.id, c.before as Port]] : [])));
    const touched = changes.flatMap((change) => touchedBy(change, view, before));
    for (const { network, ip, had } of touched) if (had !== undefined) this.lose(addressId(network, ip), had);
    for (const { network, ip } of touched) this.judge(addressId(network, ip), network, ip);
  }

  private lose(id: string, { mac, project }: Had): void {
    const atMs = this.host.clock.monotonic();
    // Whoever is remembered was the last that anybody knew: a port that was never there changes nothing.
    if (atMs - (this.lost.get(id)?.atMs ?? -Infinity) <= LOST_S * 1000) return;
    this.lost.delete(id);
    this.lost.push(id, project, { mac, atMs });
  }

  private judge(id: string, network: string, ip: string): void {
    const had = this.lost.get(id);
    if (had === undefined) return;
    const now = holderOf(this.host.view, network, ip);
    if (now === undefined) return;
    this.lost.delete(id);
    if (now.mac === had.mac || this.host.clock.monotonic() - had.atMs > LOST_S * 1000 || this.announcing.has(id)) return;
    const { project_id: project } = now.port;
    if (!this.announcing.admits(project)) {
      this.host.log.debug({ network, ip }, "too many addresses move at once: this one is not announced");
      return;
    }
    const gone = this.announcing.put(id, project, this.announce(id, network, ip));
    gone?.[1]();
  }

  private announce(id: string, network: string, ip: string): () => void {
    let cancel: Cancel;
    const wait = (times: number): void => {
      cancel = this.host.after(AFTER_S[times]! - (AFTER_S[times - 1] ?? 0), () => {
        const holder = holderOf(this.host.view, network, ip);
        if (holder === undefined || times + 1 >= AFTER_S.length) this.announcing.delete(id);
        else wait(times + 1);
        if (holder !== undefined) this.host.send(toOthers(this.host, holder));
      });
    };
    wait(0);
    return () => cancel();
  }
}

/** The MAC that an address had, and the project of the port. */
interface Had {
  readonly mac: string;
  readonly project: string;
}
/** An address that a change concerns, and what it had before, if it had any. */
interface Touched {
  readonly network: string;
  readonly ip: string;
  readonly had: Had | undefined;
}
const hadBy = (port: Port | undefined, mac?: string): Had | undefined => (port === undefined ? undefined : { mac: mac ?? port.mac_address, project: port.project_id });

/** `before`: ports of the same commit as they were. */
function touchedBy(change: RowChange, view: LiveView, before: ReadonlyMap<string, Port>): Touched[] {
  if (change.table === addressTable) {
    return [change.before, change.after].flatMap((row, i) => {
      if (row === undefined) return [];
      const { network_id: network, ip, port_id } = row as Address;
      return [{ network, ip, had: i === 0 ? hadBy(before.get(port_id) ?? view.get(portTable, port_id)) : undefined }];
    });
  }
  if (change.table === attachmentTable) {
    const { port_id } = (change.after ?? change.before) as Attachment;
    const port = before.get(port_id) ?? view.get(portTable, port_id);
    return port === undefined ? [] : addressesOf(port, view, change.before !== undefined);
  }
  return [change.before, change.after].flatMap((row, i) => (row === undefined ? [] : addressesOf(row as Port, view, i === 0)));
}

/** A port's own addresses, and single ones of its pairs that are nobody's own. */
function addressesOf(port: Port, view: LiveView, had: boolean): Touched[] {
  const network = port.network_id;
  return [
    ...view.by(addressTable, "port", port.id).map(({ ip }) => ({ network, ip, had: had ? hadBy(port) : undefined })),
    ...port.allowed_address_pairs.flatMap((pair) => {
      const ip = singleAddress(pair.ip_address);
      if (ip === undefined || view.get(addressTable, addressId(network, ip)) !== undefined) return [];
      return [{ network, ip, had: had ? hadBy(port, macOfPair(port, pair)) : undefined }];
    }),
  ];
}

/** Who has an address: its port, else the one that has it as a pair. Undefined: nobody who is there, or several may and only who has it knows. */
function holderOf(view: LiveView, network: string, ip: string): Holder | undefined {
  const own = view.get(addressTable, addressId(network, ip));
  const owner = own === undefined ? undefined : view.get(portTable, own.port_id);
  const takers = view.by(portTable, "pair_ip", `${network}|${ip}`).filter((p) => p.id !== owner?.id);
  const port = owner ?? takers[0];
  if (port === undefined || takers.length > (owner === undefined ? 1 : 0)) return undefined;
  if (!isNetworkPort(port) && activeAttachment(view, port.id) === undefined) return undefined;
  const mac = owner === undefined ? (port.allowed_address_pairs.find((p) => singleAddress(p.ip_address) === ip)?.mac_address ?? "") : "";
  return isAnothers(view, port, mac) ? undefined : { ip, port, mac: mac === "" ? port.mac_address : mac };
}

/** To every port of the network but the holder, which would take it for somebody else's while it looks for duplicates. */
function toOthers(host: ServiceHost, { ip, port, mac }: Holder): StageOut[] {
  const { view } = host;
  const network = view.get(networkTable, port.network_id);
  if (network === undefined) return [];
  const data = isIpv6(ip) ? buildUnsolicitedNeighbourAdvertisement({ mac, address: ip, router: isRouterPort(port) }) : buildGratuitousArp({ mac, address: ip });
  const outs: StageOut[] = [];
  const own = new Set(view.by(attachmentTable, "port", port.id).map((at) => at.chassis));
  for (const chassis of view.pairKeys(attachmentTable, "network_chassis", network.id)) {
    if (!host.masters(chassis)) continue;
    if (!own.has(chassis)) outs.push(toAllPorts(chassis, network.key, data));
    else for (const at of view.byPair(attachmentTable, "network_chassis", network.id, chassis)) if (at.port_id !== port.id) outs.push(toPort(chassis, network.key, at.port_key, data));
  }
  return outs;
}
