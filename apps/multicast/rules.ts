// Who gets what of IP multicast. Which ports joined a group stands in learned tables alone: a switch learns it from reports, of its own ports and of what other chassis relay, and forgets it after a while. As
// one learned flow cannot send to several, a packet is copied to each port and chassis of its network, and each copy looks up whether its receiver joined.
// Only while the controller says so is anything filtered: without one, or where a switch has just come, multicast goes to all as broadcast does.
import {
  callStage, callTable, chassisScope, chassisTable, copy, derivation, each, eachPair, ethType, ipProto, isIpv6, load, setField, toEntrance, toStage, toTable, type FlowAction, type ReadView,
} from "#app";
import {
  addressTable, admitListener, apart, attachmentTable, callParts, hostListTable, inParts, partKey, spreadOf, chosenSegmentTable, extraMacs, handleMulticast, isAnothers, isCarried, lanScope, networkTable, portTable, type Attachment, type Port,
} from "../l2/model.ts";
import { filterS, memberS, multicastGroups, multicastSettings, snoopedHostTable, snoopedTable, snoopingScope, signal, type Snooped, type SnoopedHost } from "./model.ts";
import { multicast } from "./tables.ts";

/** Of a host in all, as of what is learned of MACs: beyond, what ends soonest of whoever has most goes first. */
const MEMBERSHIPS_OF_HOST = 16_384;
/** Parts of lists: of other chassis, of local ports that hear reports, of all local ports. */
const parts = { table: "multicast_parts", register: "multicast_part", group: multicastGroups.min } as const;
const LIST = { hosts: 0, reports: 1, ports: 2 } as const;

export const derive = [
  derivation({
    name: "snooped-network",
    on: each(networkTable),
    into: snoopedTable,
    reads: [chosenSegmentTable],
    derive({ id, key }, view): Snooped | undefined {
      const settings = view.settings(multicastSettings);
      // What is on a physical network is filtered there, by its switches.
      return settings["multicast-snooping"] && !isCarried(view, id) ? { id, key, queryS: settings["multicast-query-interval"] } : undefined;
    },
  }),
  derivation({
    name: "snooped-host",
    on: eachPair(attachmentTable, "network_chassis"),
    into: snoopedHostTable,
    reads: [snoopedTable, portTable, chassisTable],
    derive({ a: network_id, b: chassis }, view): SnoopedHost | undefined {
      const network = view.get(snoopedTable, network_id);
      const host = view.get(chassisTable, chassis);
      if (network === undefined || host === undefined) return undefined;
      const open = view.byPair(attachmentTable, "network_chassis", network_id, chassis).some((at) => isOpen(view, at));
      return { id: `${network_id}@${chassis}`, network_id, net_key: network.key, chassis, host_key: host.key, open };
    },
  }),
];

const isOpen = (view: ReadView, at: Attachment): boolean => view.get(portTable, at.port_id)?.port_security_enabled !== true;

const IGMP = { eth_type: ethType.ip, ip_proto: 2 } as const;
const MLD = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6 } as const;
const MLD_TYPE = { query: 130, report: 131, done: 132, reportV2: 143 } as const;
/**
 * Bytes of the longest frame of each: of the first version Ethernet, IPv6, Router Alert and 24 bytes, with room for a tag (RFC 2710 section 3); of the second one that Ethernet carries, by
 * which hosts go (RFC 3810 section 5.2.15). More is no report, or one of which the rest is heard when its sender is asked.
 */
const MLD_MAX = 90;
const REPORT_MAX = 1522;
const LISTENERS = [{ icmpv6_type: MLD_TYPE.report, bytes: MLD_MAX }, { icmpv6_type: MLD_TYPE.done, bytes: MLD_MAX }, { icmpv6_type: MLD_TYPE.reportV2, bytes: REPORT_MAX }] as const;
const ALL_HOSTS = "224.0.0.1";
const ALL_ROUTERS = "224.0.0.2";
const V3_ROUTERS = "224.0.0.22";
const OF_LINK_4 = "224.0.0.0/24";
const OF_LINK_6 = "ff02::/16";
/** Reports go to other chassis by this MAC, that of 224.0.0.22, which no query of a group has. Whom it is of cannot be seen of IGMP: no field shows its type. */
const REPORT_MAC = "01:00:5e:00:00:16";
const families = [{ eth_type: ethType.ip, group: "ipv4_dst" }, { eth_type: ethType.ipv6, group: "ipv6_dst" }] as const;

/** Copies to other chassis. Reports go to all, as broadcast does. */
const copiesToHosts = (hosts: readonly SnoopedHost[]) =>
  hosts.toSorted((a, b) => a.host_key - b.host_key).flatMap(({ host_key, open }): readonly FlowAction<"multicast_host" | "multicast_verdict", "out_host">[] =>
    open ? [load("out_host", host_key), callStage("locate")] : [load("out_host", host_key), callTable("multicast_host"), callTable("multicast_verdict")]);

const network = multicast.rule({
  name: "to-members",
  about: "multicast of a network goes to ports and chassis that joined",
  on: each(snoopedTable),
  emit({ id, key, queryS }, view, out) {
    const scope = lanScope(id);
    const list = view.get(hostListTable, id);
    if (list === undefined) return;
    out.include(scope, snoopingScope());
    handleMulticast(out, scope, { key }, [toEntrance(multicast.entrance("multicast"))]);
    const actions = list.spread === "whole" ? copiesToHosts(view.by(snoopedHostTable, "network", id)) : callParts(parts, LIST.hosts, view.pairKeys(snoopedHostTable, "parts", id).map(Number), list.spread);
    out.flow(scope, "multicast_hosts", { priority: 100, match: { "reg:net": key }, actions });
    if (list.spread === "apart") apart(out, scope, parts);
    out.flow(scope, "multicast_begin", {
      priority: 100, match: { "reg:net": key },
      actions: [{ type: "learn", table: "multicast_filter", priority: 100, hardTimeoutS: filterS(queryS), match: { "reg:net": { from: "reg:net" } }, load: [{ to: "reg:multicast_filtered", from: 1 }] }, load("multicast_filtered", 0), ...toPorts(0)],
    });
  },
});

const part = multicast.rule({
  name: "to-members-part",
  about: "multicast of a network goes to chassis that joined, of a part of many",
  on: eachPair(snoopedHostTable, "parts"),
  emit({ a: networkId, b: n }, view, out) {
    const list = view.get(hostListTable, networkId);
    if (list === undefined || list.spread === "whole") return;
    const match = { "reg:net": list.net_key, "reg:multicast_part": partKey(LIST.hosts, Number(n)) } as const;
    out.flow(lanScope(networkId), "multicast_parts", { priority: 100, match, actions: copiesToHosts(view.byPair(snoopedHostTable, "parts", networkId, n)) });
  },
});

const toPorts = (report: 0 | 1) => [load("multicast_report", report), toTable("multicast_ports")] as const;
const toHosts = callTable("multicast_hosts");
const toAllHosts = callStage("flood");

const host = multicast.rule({
  name: "of-host",
  about: "which groups ports of another chassis joined, by the reports that it relays; and which ports here get a copy",
  on: each(snoopedHostTable),
  emit({ network_id, net_key, chassis, host_key }, view, out) {
    const settings = view.get(snoopedTable, network_id);
    const encapIp = view.get(chassisTable, chassis)?.encap_ip ?? "";
    if (settings === undefined) return;
    if (encapIp !== "") {
      const from = isIpv6(encapIp) ? { tun_ipv6_src: encapIp } : { tun_ipv4_src: encapIp };
      for (const { eth_type, group } of families) {
        out.flow(lanScope(network_id), "multicast_join", {
          priority: 100, match: { "reg:net": net_key, "reg:from_tunnel": 1, eth_type, ...from },
          actions: [
            {
              type: "learn", table: "multicast_host", priority: 100, hardTimeoutS: memberS(settings.queryS),
              match: { "reg:net": { from: "reg:net" }, "reg:out_host": host_key, eth_type, [group]: { from: group } }, load: [{ to: "reg:multicast_wanted", from: 1 }],
            },
            toTable("multicast_relay"),
          ],
        });
      }
    }
    const members = [...view.byPair(attachmentTable, "network_chassis", network_id, chassis)].sort((a, b) => a.port_key - b.port_key).filter((m, i, all) => m.port_key !== all[i - 1]?.port_key);
    const to = (at: Attachment) => [load("out_port_key", at.port_key), callStage("locate")] as const;
    const ifJoined = (at: Attachment) => [load("out_port_key", at.port_key), callTable("multicast_port"), callTable("multicast_verdict")] as const;
    const open = members.filter((at) => isOpen(view, at));
    const list = (report: 0 | 1, some: readonly Attachment[], copyTo: (at: Attachment) => readonly FlowAction<"multicast_port" | "multicast_verdict", "out_port_key">[]): void => {
      if (some.length === 0) return;
      const scope = chassisScope(chassis);
      const [spread, ofList] = [spreadOf(some.length), report === 1 ? LIST.reports : LIST.ports];
      const byPart = spread === "whole" ? undefined : inParts(some, (at) => at.slot);
      out.flow(scope, "multicast_ports", {
        priority: 100, match: { "reg:net": net_key, "reg:multicast_report": report },
        actions: [load("out_host", 0), ...(byPart === undefined ? some.flatMap(copyTo) : callParts(parts, ofList, byPart.keys(), spread))],
      });
      for (const [n, few] of byPart ?? []) out.flow(scope, "multicast_parts", { priority: 100, match: { "reg:net": net_key, "reg:multicast_part": partKey(ofList, n) }, actions: few.flatMap(copyTo) });
      if (spread === "apart") apart(out, scope, parts);
    };
    list(1, open, to);
    list(0, members, (at) => (open.includes(at) ? to(at) : ifJoined(at)));
  },
});

const port = multicast.rule({
  name: "of-port",
  about: "which groups a port joined, by its reports; those that its switch cannot read go to the controller",
  on: each(attachmentTable),
  emit(at, view, out) {
    const settings = view.get(snoopedTable, at.network_id);
    if (settings === undefined) return;
    const scope = chassisScope(at.chassis);
    const sender = { "reg:in_port_key": at.port_key } as const;
    out.flow(scope, "multicast_punted", { priority: 100, match: sender, meter: at.slot, actions: [{ type: "punt", maxLen: REPORT_MAX }] });
    const row = view.get(portTable, at.port_id);
    // Whoever has no port security gets all of it, and says what it likes.
    if (row?.port_security_enabled !== true) return;
    if (hasIpv6(view, row)) for (const mac of [row.mac_address, ...extraMacs(row)]) if (!isAnothers(view, row, mac)) admitListener(out, at, mac, LISTENERS);
    for (const { eth_type, group } of families) {
      out.flow(scope, "multicast_join", {
        priority: 100, match: { ...sender, eth_type },
        actions: [
          {
            type: "learn", table: "multicast_port", priority: 100, hardTimeoutS: memberS(settings.queryS),
            match: { "reg:out_port_key": { from: "reg:in_port_key" }, eth_type, [group]: { from: group } }, load: [{ to: "reg:multicast_wanted", from: "reg:multicast_joins" }],
          },
          toTable("multicast_relay"),
        ],
      });
    }
  },
});

const hasIpv6 = (view: ReadView, row: Port): boolean => view.by(addressTable, "port", row.id).some((a) => a.family === 6) || row.allowed_address_pairs.some((pair) => pair.ip_address.includes(":"));

const bounds = multicast.rule({
  name: "bounds-of-host",
  about: "how many memberships a host knows",
  on: each(snoopedHostTable),
  emit({ chassis }, _view, out) {
    const bounded = { flow_limit: MEMBERSHIPS_OF_HOST, overflow_policy: "evict" } as const;
    out.row(chassisScope(chassis), "Flow_Table", "multicast_port", { ...bounded, groups: ["reg:out_port_key"] });
    out.row(chassisScope(chassis), "Flow_Table", "multicast_host", { ...bounded, groups: ["reg:net"] });
  },
});

export const rules = [network, part, host, port, bounds];

export const staticFlows = multicast.static((out) => {
  const all = snoopingScope();
  const here = { "reg:from_tunnel": 0 } as const;
  const afar = { "reg:from_tunnel": 1 } as const;
  const secured = { ...here, "reg:secured": 1 } as const;
  const toController = [toTable("multicast_punted")] as const;
  const toJoin = [load("multicast_joins", 1), toTable("multicast_join")] as const;
  // What the controller says: by way of conntrack, which forgets it. What a packet-out itself learns, a switch does not look again at cached flows for.
  for (const { eth_type } of families) {
    const said = (what: number) => ({ priority: 310, match: { "reg:from_network": 1, "reg:router": what, eth_type } }) as const;
    const by = (table: "multicast_join" | "multicast_begin") => ({ type: "ct", zone: "ct_zone", then: { table } }) as const;
    out.flow(all, "multicast", { ...said(signal.joined), actions: [load("router", 0), load("multicast_joins", 1), by("multicast_join")] });
    out.flow(all, "multicast", { ...said(signal.left), actions: [load("router", 0), load("multicast_joins", 0), by("multicast_join")] });
    out.flow(all, "multicast", { ...said(signal.filter), actions: [load("router", 0), by("multicast_begin")] });
  }
  // Only a port without port security may be a router, and ask.
  out.flow(all, "multicast", { priority: 300, match: { ...secured, ...IGMP, ipv4_dst: ALL_HOSTS }, actions: [] });
  out.flow(all, "multicast", { priority: 300, match: { ...secured, ...MLD, icmpv6_type: MLD_TYPE.query }, actions: [] });
  // A router's question may go there too: what the controller says again it is not told again.
  const unsaid = { ...here, "reg:from_network": 0 } as const;
  for (const ipv4_dst of [V3_ROUTERS, ALL_ROUTERS]) out.flow(all, "multicast", { priority: 290, match: { ...unsaid, ...IGMP, ipv4_dst }, actions: toController });
  for (const icmpv6_type of [MLD_TYPE.reportV2, MLD_TYPE.done]) out.flow(all, "multicast", { priority: 290, match: { ...unsaid, ...MLD, icmpv6_type }, actions: toController });
  // Nobody needs to know who is in a group that goes to all.
  out.flow(all, "multicast", { priority: 280, match: { ...secured, ...IGMP, ipv4_dst: OF_LINK_4 }, actions: [] });
  out.flow(all, "multicast", { priority: 280, match: { ...MLD, icmpv6_type: MLD_TYPE.report, ipv6_dst: OF_LINK_6 }, actions: [] });
  // Of a port without port security it may be a report, or a router's question who is in the group.
  out.flow(all, "multicast", { priority: 260, match: { ...unsaid, ...IGMP, "reg:secured": 0 }, actions: toController });
  out.flow(all, "multicast", { priority: 250, match: { ...secured, ...IGMP }, actions: toJoin });
  out.flow(all, "multicast", { priority: 250, match: { ...afar, ...IGMP, eth_dst: REPORT_MAC }, actions: toJoin });
  out.flow(all, "multicast", { priority: 250, match: { ...MLD, icmpv6_type: MLD_TYPE.report }, actions: toJoin });

  const unfiltered = load("multicast_filtered", 0);
  for (const match of [{ eth_type: ethType.ip, ipv4_dst: OF_LINK_4 }, { eth_type: ethType.ipv6, ipv6_dst: OF_LINK_6 }] as const) {
    // Before the reports above: a question of the network's own, or of a router, who is in any group.
    const priority = match.eth_type === ethType.ip ? 270 : 100;
    out.flow(all, "multicast", { priority, match: { ...here, ...match }, actions: [unfiltered, toHosts, ...toPorts(0)] });
    out.flow(all, "multicast", { priority, match: { ...afar, ...match }, actions: [unfiltered, ...toPorts(0)] });
  }
  out.flow(all, "multicast", { priority: 50, match: here, actions: [unfiltered, callTable("multicast_filter"), toHosts, ...toPorts(0)] });
  out.flow(all, "multicast", { priority: 50, match: afar, actions: [unfiltered, callTable("multicast_filter"), ...toPorts(0)] });

  out.flow(all, "multicast_join", { priority: 10, match: here, actions: [toTable("multicast_relay")] });
  // Who left has nothing to tell to others: they forget it after a while.
  out.flow(all, "multicast_relay", { priority: 110, match: { "reg:multicast_joins": 0 }, actions: [] });
  const asSent = [setField("eth_dst", "01:00:5e:00:00:00"), copy({ field: "ipv4_dst", ofs: 0, bits: 23 }, { field: "eth_dst", ofs: 0, bits: 23 })] as const;
  out.flow(all, "multicast_relay", { priority: 100, match: { ...here, eth_type: ethType.ip }, actions: [setField("eth_dst", REPORT_MAC), toAllHosts, ...asSent, ...toPorts(1)] });
  out.flow(all, "multicast_relay", { priority: 100, match: { ...here, eth_type: ethType.ipv6 }, actions: [toAllHosts, ...toPorts(1)] });
  out.flow(all, "multicast_relay", { priority: 100, match: { ...afar, eth_type: ethType.ip }, actions: [...asSent, ...toPorts(1)] });
  out.flow(all, "multicast_relay", { priority: 100, match: { ...afar, eth_type: ethType.ipv6 }, actions: toPorts(1) });

  out.flow(all, "multicast_verdict", { priority: 100, match: { "reg:multicast_wanted": 1 }, actions: [load("multicast_wanted", 0), toStage("locate")] });
  out.flow(all, "multicast_verdict", { priority: 90, match: { "reg:multicast_filtered": 0 }, actions: [toStage("locate")] });
});
