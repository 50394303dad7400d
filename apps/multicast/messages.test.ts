// What is read of reports of every version, and what is asked.
import { buildEthernet, buildIcmpv6Body, buildIgmp, buildIpv4, buildIpv6, ethertypes, ipProtocols, parseIcmpv6Body, parsePacket, type Icmpv6Body, type IgmpMessage } from "packet-codec";
import { expect, test } from "vitest";
import { queries, readReport, reportOf } from "./messages.ts";

const MAC = "fa:16:3e:00:00:01";
const igmp = (message: IgmpMessage): Buffer => buildEthernet({ dst: "01:00:5e:00:00:16", src: MAC, ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.5", dst: "224.0.0.22", protocol: ipProtocols.igmp, ttl: 1 }, buildIgmp(message)));
const ends = { src: "fe80::1", dst: "ff02::16" };
const mld = (message: Icmpv6Body): Buffer => buildEthernet({ dst: "33:33:00:00:00:16", src: MAC, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: 1 }, buildIcmpv6Body(message, ends)));
const memberships = (frame: Buffer): string[] => readReport(frame).memberships.map(({ group, joins }) => `${joins ? "+" : "-"}${group}`);

const RECORDS = [[1, [], "-"], [1, ["10.0.0.9"], "+"], [2, [], "+"], [3, [], "-"], [3, ["10.0.0.9"], "+"], [4, [], "+"], [5, ["10.0.0.9"], "+"], [6, ["10.0.0.9"], ""]] as const;

test.each(RECORDS)("a record of type %i with sources %j is %s", (type, sources, sign) => {
  expect(memberships(igmp({ kind: "reportV3", records: [{ type, group: "239.1.2.3", sources: [...sources] }] }))).toEqual(sign === "" ? [] : [`${sign}239.1.2.3`]);
  const six = sources.map((_, i) => `fd00::${i + 1}`);
  expect(memberships(mld({ kind: "mldv2Report", code: 0, records: [{ type, group: "ff0e::77", sources: six }] }))).toEqual(sign === "" ? [] : [`${sign}ff0e::77`]);
});

test("older versions, who leaves, and a router's question", () => {
  expect(memberships(igmp({ kind: "report", version: 1, max_resp_code: 0, group: "239.1.2.3" }))).toEqual(["+239.1.2.3"]);
  expect(memberships(igmp({ kind: "leave", max_resp_code: 0, group: "239.1.2.3" }))).toEqual(["-239.1.2.3"]);
  expect(memberships(mld({ kind: "mldReport", code: 0, max_resp_code: 0, group: "ff0e::77" }))).toEqual(["+ff0e::77"]);
  expect(memberships(mld({ kind: "mldDone", code: 0, max_resp_code: 0, group: "ff0e::77" }))).toEqual(["-ff0e::77"]);
  expect(readReport(igmp({ kind: "query", version: 2, max_resp_code: 10, group: "239.1.2.3" }))).toEqual({ query: true, memberships: [] });
});

test("what goes to all is no wish, nor what is no group, nor what a host could not have sent; of many some", () => {
  const groups = ["224.0.0.251", "10.0.0.1", "255.255.255.255", "239.1.2.3"];
  expect(memberships(igmp({ kind: "reportV3", records: groups.map((group) => ({ type: 2, group, sources: [] })) }))).toEqual(["+239.1.2.3"]);
  expect(memberships(mld({ kind: "mldv2Report", code: 0, records: ["ff02::1:ff00:1", "fd00::1", "ff05::2"].map((group) => ({ type: 2, group, sources: [] })) }))).toEqual(["+ff05::2"]);
  expect(memberships(igmp({ kind: "reportV3", records: Array.from({ length: 100 }, (_, n) => ({ type: 2, group: `239.1.1.${n}`, sources: [] })) })).length).toBe(16);
  for (const frame of [igmp({ kind: "report", version: 2, max_resp_code: 0, group: "239.1.2.3" }), mld({ kind: "mldReport", code: 0, max_resp_code: 0, group: "ff0e::77" })]) {
    frame[frame.length - 1]! ^= 1;
    expect(memberships(frame)).toEqual([]);
  }
});

test("a report that is said again goes to the group itself, in the version before the last, and is read as what it says", () => {
  for (const [group, mac] of [["239.129.2.3", "01:00:5e:01:02:03"], ["ff0e::1:77", "33:33:00:01:00:77"]] as const) {
    const frame = reportOf(group);
    const { eth, ipv4, ipv6, igmp: four, icmpv6 } = parsePacket(frame);
    expect([eth.dst, ipv4?.dst ?? ipv6?.dst]).toEqual([mac, group]);
    expect(four?.kind === "report" ? four.version : parseIcmpv6Body(icmpv6!).kind).toBe(four === undefined ? "mldReport" : 2);
    expect(memberships(frame)).toEqual([`+${group}`]);
  }
});

test("queries are of IGMPv2 and MLDv1, with router alert, to all or to the group, to be answered in time", () => {
  const [four, six] = queries(10).map((frame) => parsePacket(frame));
  expect([four!.eth.dst, four!.ipv4!.dst, four!.ipv4!.ttl]).toEqual(["01:00:5e:00:00:01", "224.0.0.1", 1]);
  expect(four!.igmp).toMatchObject({ kind: "query", version: 2, max_resp_code: 100, group: "0.0.0.0", checksumOk: true });
  expect([six!.eth.dst, six!.ipv6!.dst, six!.ipv6!.hop_limit, six!.ipv6!.extensions, six!.icmpv6!.checksumOk]).toEqual(["33:33:00:00:00:01", "ff02::1", 1, [0], true]);
  expect(parseIcmpv6Body(six!.icmpv6!)).toMatchObject({ kind: "mldQuery", version: 1, max_resp_code: 10_000, group: "::" });
  expect(queries(1, "239.1.2.3").map((frame) => parsePacket(frame).ipv4!.dst)).toEqual(["239.1.2.3"]);
  expect(queries(1, "ff0e::77").map((frame) => parsePacket(frame).ipv6!.dst)).toEqual(["ff0e::77"]);
});
