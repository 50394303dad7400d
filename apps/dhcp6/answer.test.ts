// Every message that a client may send, and those that nobody should.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildDhcp6, buildDuid, dhcp6StatusCodes as status, dhcp6Value, type Dhcp6Option, type Duid } from "packet-codec";
import { declinedAddressTable } from "../dhcp/model.ts";
import { problems } from "../dhcp/problems.ts";
import { asks, client, Cloud, held, ia, named, server, statusOf, type } from "./dhcp6.fixture.ts";

let cloud: Cloud;
let port: string;
let other: string;
let ip: string;
let at: Duid;

beforeAll(async () => {
  cloud = await Cloud.make();
  const made = await cloud.network("dhcpv6-stateful", { dns_nameservers: ["fd00:1::53", "2001:db8::53"] });
  port = made.port;
  other = await cloud.port(made.net);
  [ip] = cloud.addresses(port) as [string];
  at = cloud.server(port);
});
afterAll(() => cloud?.h.close());

const LIVES = "86400/86400";

describe("a client that begins", () => {
  test("SOLICIT is answered by ADVERTISE with the port's address, and no other server is waited for", () => {
    const message = cloud.ask(port, type.solicit, [client, ia(7), asks(23)])!;
    expect(message.msg_type).toBe(type.advertise);
    expect(dhcp6Value(message, "CLIENTID")).toEqual((client as { value: unknown }).value);
    expect(dhcp6Value(message, "PREFERENCE")).toBe(255);
    expect(dhcp6Value(message, "IA_NA")).toMatchObject({ iaid: 7, t1_s: 43_200, t2_s: 69_120 });
    expect(held(message)).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
    expect(dhcp6Value(message, "DNS_SERVERS")).toEqual(["fd00:1::53", "2001:db8::53"]);
  });

  test("SOLICIT with rapid commit is answered by REPLY at once", () => {
    const message = cloud.ask(port, type.solicit, [client, { option: "RAPID_COMMIT", value: true }, ia(7)])!;
    expect(message.msg_type).toBe(type.reply);
    expect(dhcp6Value(message, "RAPID_COMMIT")).toBe(true);
    expect(held(message)).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
  });

  test("what it would like is a hint: it gets the port's address", () => {
    expect(held(cloud.ask(port, type.solicit, [client, ia(7, "fd00:1::99", "2001:db8::1")]))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
  });

  test("REQUEST is answered by REPLY, with the address wherever it is named", () => {
    const message = cloud.ask(port, type.request, [client, server(at), ia(7, ip)])!;
    expect(message.msg_type).toBe(type.reply);
    expect(held(message)).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
    expect(held(cloud.ask(port, type.request, [client, server(at), ia(1), ia(2, ip)]))).toEqual([["IA_NA", 1, status.noAddrsAvail], ["IA_NA", 2, `${ip} ${LIVES}`]]);
  });

  test("REQUEST of an address of another link is told so inside of its association", () => {
    const message = cloud.ask(port, type.request, [client, server(at), ia(7, "2001:db8::1")]);
    expect(held(message)).toEqual([["IA_NA", 7, status.notOnLink]]);
    expect(statusOf(message)).toBeUndefined();
  });

  test("REQUEST of another's address gets the port's own", () => {
    expect(held(cloud.ask(port, type.request, [client, server(at), ia(7, cloud.addresses(other)[0]!)]))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
  });

  test("temporary addresses and prefixes there are none, each inside of its association", () => {
    const more: Dhcp6Option[] = [{ option: "IA_TA", value: { iaid: 8, options: [] } }, { option: "IA_PD", value: { iaid: 9, t1_s: 0, t2_s: 0, options: [] } }];
    expect(held(cloud.ask(port, type.solicit, [client, ia(7), ...more]))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`], ["IA_TA", 8, status.noAddrsAvail], ["IA_PD", 9, status.noPrefixAvail]]);
    const alone = cloud.ask(port, type.solicit, [client, { option: "RAPID_COMMIT", value: true }, ...more])!;
    expect(alone.msg_type, "nothing is committed").toBe(type.advertise);
    expect(dhcp6Value(alone, "PREFERENCE")).toBeUndefined();
  });
});

describe("a client that has an address", () => {
  test.each([["RENEW", type.renew], ["REBIND", type.rebind]])("%s: what it has goes on, what it has not is over", (_, msg_type) => {
    const to = msg_type === type.renew ? [server(at)] : [];
    const ask = (...ias: Dhcp6Option[]): unknown[] => held(cloud.ask(port, msg_type, [client, ...to, ...ias]));
    expect(ask(ia(7, ip))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
    expect(ask(ia(7, "fd00:1::99", ip))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`, "fd00:1::99 0/0"]]);
    expect(ask(ia(7, "fd00:1::99")), "it gets the one it has now").toEqual([["IA_NA", 7, `${ip} ${LIVES}`, "fd00:1::99 0/0"]]);
    expect(ask(ia(7, ip), ia(8))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`], ["IA_NA", 8, status.noBinding]]);
    expect(ask(ia(7, ip), ia(8, ip)), "an address is in one association").toEqual([["IA_NA", 7, `${ip} ${LIVES}`], ["IA_NA", 8, `${ip} 0/0`]]);
    expect(ask({ option: "IA_PD", value: { iaid: 9, t1_s: 0, t2_s: 0, options: [{ option: "IAPREFIX", value: { prefix: "fd00:9::", prefix_length: 56, preferred_lifetime_s: 9, valid_lifetime_s: 9, options: [] } }] } })).toEqual([["IA_PD", 9, "fd00:9::/56 0/0"]]);
    expect(ask({ option: "IA_TA", value: { iaid: 9, options: [named("fd00:1::7")] } })).toEqual([["IA_TA", 9, "fd00:1::7 0/0"]]);
  });

  test("CONFIRM: its own address is right, what it has not is not; of none there is nothing to say", () => {
    const right = cloud.ask(port, type.confirm, [client, ia(7, ip)])!;
    expect([right.msg_type, statusOf(right), held(right)]).toEqual([type.reply, status.success, []]);
    for (const wrong of [[ia(7, "2001:db8::1")], [ia(7, ip, "fd00:1::99")], [ia(7, cloud.addresses(other)[0]!)]]) expect(statusOf(cloud.ask(port, type.confirm, [client, ...wrong]))).toBe(status.notOnLink);
    expect(cloud.ask(port, type.confirm, [client, ia(7)])).toBeUndefined();
  });

  test.each([["RELEASE", type.release], ["DECLINE", type.decline]])("%s succeeds, the port keeps its address; what is not bound is named so", (_, msg_type) => {
    const right = cloud.ask(port, msg_type, [client, server(at), ia(7, ip)])!;
    expect([right.msg_type, statusOf(right), held(right)]).toEqual([type.reply, status.success, []]);
    const wrong = cloud.ask(port, msg_type, [client, server(at), ia(7, "fd00:1::99"), ia(8, ip)])!;
    expect([statusOf(wrong), held(wrong)]).toEqual([status.success, [["IA_NA", 7, status.noBinding]]]);
    expect(held(cloud.ask(port, type.renew, [client, server(at), ia(7, ip)]))).toEqual([["IA_NA", 7, `${ip} ${LIVES}`]]);
  });

  test("what is declined is a problem of the port", () => {
    expect(cloud.h.view.facts(declinedAddressTable, other)).toEqual([]);
    const [mine] = cloud.addresses(other);
    cloud.ask(other, type.decline, [client, server(at), ia(7, mine!, "fd00:1::99")]);
    expect(cloud.h.view.facts(declinedAddressTable, other)).toMatchObject([{ port_id: other, ip: mine }]);
    expect(problems(cloud.h.view).filter(({ resources }) => resources?.[0]?.id === other)).toMatchObject([{ kind: "address_declined", text: expect.stringContaining(mine!) as string }]);
  });

  test("several addresses: all to one association, or each where it is named, or one for each", async () => {
    const net = (await cloud.h.create("network", {})).id;
    await cloud.h.create("subnet", { network_id: net, ip_version: 6, cidr: "fd00:2::/64", ipv6_address_mode: "dhcpv6-stateful" });
    const both = await cloud.port(net, { fixed_ips: [{ ip_address: "fd00:2::a" }, { ip_address: "fd00:2::b" }] });
    const [a, b] = [`fd00:2::a ${LIVES}`, `fd00:2::b ${LIVES}`];
    expect(held(cloud.ask(both, type.solicit, [client, ia(1)]))).toEqual([["IA_NA", 1, a, b]]);
    expect(held(cloud.ask(both, type.solicit, [client, ia(1), ia(2)]))).toEqual([["IA_NA", 1, a], ["IA_NA", 2, b]]);
    expect(held(cloud.ask(both, type.renew, [client, server(at), ia(1, "fd00:2::b"), ia(2, "fd00:2::a")]))).toEqual([["IA_NA", 1, b], ["IA_NA", 2, a]]);
  });
});

describe("what is not answered", () => {
  const stranger: Duid = { type: "LL", value: { hardware_type: 1, lladdr: "fa:16:3e:00:00:09" } };
  test.each<[what: string, msg_type: number, options: () => Dhcp6Option[]]>([
    ["SOLICIT of nobody", type.solicit, () => [ia(7)]],
    ["SOLICIT to a server", type.solicit, () => [client, server(at), ia(7)]],
    ["REQUEST to no server", type.request, () => [client, ia(7)]],
    ["REQUEST to another server", type.request, () => [client, server(stranger), ia(7)]],
    ["REQUEST of nobody", type.request, () => [server(at), ia(7)]],
    ["CONFIRM to a server", type.confirm, () => [client, server(at), ia(7, ip)]],
    ["RENEW to no server", type.renew, () => [client, ia(7, ip)]],
    ["RENEW to another server", type.renew, () => [client, server(stranger), ia(7, ip)]],
    ["REBIND to a server", type.rebind, () => [client, server(at), ia(7, ip)]],
    ["RELEASE to another server", type.release, () => [client, server(stranger), ia(7, ip)]],
    ["DECLINE to no server", type.decline, () => [client, ia(7, ip)]],
    ["INFORMATION-REQUEST to another server", type.informationRequest, () => [client, server(stranger)]],
    ["INFORMATION-REQUEST for an address", type.informationRequest, () => [client, ia(7)]],
    ["a server's ADVERTISE", type.advertise, () => [client, server(at), ia(7, ip)]],
    ["a server's REPLY", type.reply, () => [client, server(at), ia(7, ip)]],
    ["RECONFIGURE", type.reconfigure, () => [client, server(at)]],
    ["LEASEQUERY", type.leasequery, () => [client]],
    ["a type that nobody knows", 200, () => [client, server(at), ia(7, ip)]],
    ["too long an identifier", type.solicit, () => [{ option: "CLIENTID", value: { type: 99, value: Buffer.alloc(129) } }, ia(7)]],
  ])("%s", (_, msg_type, options) => {
    expect(cloud.ask(port, msg_type, options())).toBeUndefined();
  });

  test("the longest identifier there may be is", () => {
    expect(cloud.ask(port, type.solicit, [{ option: "CLIENTID", value: { type: 99, value: Buffer.alloc(128) } }, ia(7)])).toBeDefined();
  });

  test("an identifier that is not formed as its type says is one all the same, and is said back as it is", () => {
    for (const type_ of [1, 2, 3, 4]) {
      const odd: Dhcp6Option = { option: "CLIENTID", value: { type: type_, value: Buffer.of(9) } };
      expect(dhcp6Value(cloud.ask(port, type.solicit, [odd, ia(7)])!, "CLIENTID"), String(type_)).toEqual(odd.value);
    }
  });

  test("another MAC than the port's, an address that is not of the link, another's group, a relay's message, bytes that are none", () => {
    const options = [client, ia(7)];
    expect(cloud.ask(port, type.solicit, options)).toBeDefined();
    expect(cloud.ask(port, type.solicit, options, { mac: "fa:16:3e:66:66:66" })).toBeUndefined();
    expect(cloud.ask(port, type.solicit, options, { src: ip })).toBeUndefined();
    expect(cloud.ask(port, type.solicit, options, { src: "::" })).toBeUndefined();
    expect(cloud.ask(port, type.solicit, options, { dst: "ff05::1:3" })).toBeUndefined();
    const relayed = buildDhcp6({ msg_type: 12, hop_count: 0, link_address: "fd00:1::1", peer_address: "fe80::1", options: [{ option: "RELAY_MSG", value: { msg_type: type.solicit, transaction_id: 1, options } }] });
    const whole = buildDhcp6({ msg_type: type.solicit, transaction_id: 1, options });
    for (const raw of [relayed, Buffer.alloc(0), whole.subarray(0, 3), whole.subarray(0, whole.length - 1), Buffer.concat([whole, Buffer.of(0, 3, 0, 1, 9)])]) expect(cloud.ask(port, 0, [], { raw })).toBeUndefined();
  });

  test("a message of many associations is answered in one packet that every link carries", () => {
    const many = Array.from({ length: 40 }, (_, i) => ia(i, ...Array.from({ length: 30 }, (__, n) => `fd00:1::${(i * 30 + n + 0x100).toString(16)}`)));
    const duid: Dhcp6Option = { option: "CLIENTID", value: { type: 99, value: Buffer.alloc(128) } };
    for (const msg_type of [type.solicit, type.request, type.renew, type.rebind, type.release, type.decline]) {
      const to = msg_type === type.solicit || msg_type === type.rebind ? [] : [server(at)];
      const answer = cloud.ask(port, msg_type, [duid, ...to, ...many])!;
      expect(buildDhcp6(answer).length, String(msg_type)).toBeLessThanOrEqual(1232);
    }
  });
});

test("the identifier is one of RFC 6355, the same for all ports and after a restart, and was not made of the time", async () => {
  expect(at.type).toBe("UUID");
  expect(buildDuid(cloud.server(other)).toString("hex")).toBe(buildDuid(at).toString("hex"));
  const own = await Cloud.make({ seed: 5 });
  try {
    const { port: mine } = await own.network("dhcpv6-stateful");
    const before = own.server(mine);
    expect(before).not.toEqual(at);
    own.h.clock.advance(3_600_000);
    own.h = await own.h.restart();
    await own.h.settled();
    expect(own.server(mine)).toEqual(before);
  } finally {
    await own.h.close();
  }
});
