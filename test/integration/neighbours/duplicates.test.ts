// Who looks for duplicates of an address, with real VMs: a probe tells of nobody's right to it. Where the model gives it to one port alone, others
// learn that it is taken, and that one hears nothing of them: by RFC 4862 and RFC 5227 a host gives up what another probes for as well.
import { setTimeout as sleep } from "node:timers/promises";
import { linkLocal } from "packet-codec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Resource } from "../../support/cloud.ts";
import { addressBytes, frames, icmp, mac, sendRaw } from "../../support/api/raw.ts";

let cloud: Cloud;
let prober: Instance;
/** On the prober's host, and on another. */
let owners: readonly Instance[];
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2 });
  const network = await cloud.create("network", {});
  const net = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" }) };
  await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:d::/64" });
  const at = async (hv: number): Promise<Instance> => {
    const made = await cloud.instance(cloud.hv(hv), net, { configure: false });
    await made.vm.setAddress([`${own(made, false)}/24`, `${own(made, true)}/64`]);
    return made;
  };
  prober = await at(1);
  owners = [await at(1), await at(2)];
  await cloud.synced();
}, 60_000);
afterAll(async () => cloud?.destroy());

const own = ({ port }: Pick<Instance, "port">, six: boolean): string => (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":") === six)!;
const macOf = ({ port }: { readonly port: Resource }): string => port.mac_address as string;
const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** A neighbour solicitation from `::`, to the address' group, by whatever MAC. */
function solicitation(from: Instance, target: string, dstMac?: string): Buffer {
  const low = addressBytes(target).subarray(13).toString("hex");
  const ends = { srcMac: macOf(from), dstMac: dstMac ?? `33:33:ff:${low.match(/../g)!.join(":")}`, src: "::", dst: `ff02::1:ff${low.slice(0, 2)}:${low.slice(2)}` };
  return frames(ends, icmp(ends, 135, Buffer.concat([Buffer.alloc(4), addressBytes(target)])))[0]!;
}
const arp = (from: Instance, target: string, op = 1, dstMac = BROADCAST): Buffer =>
  Buffer.concat([mac(dstMac), mac(macOf(from)), Buffer.from(`0806000108000604000${op}`, "hex"), mac(macOf(from)), Buffer.alloc(4), Buffer.alloc(6), addressBytes(target), Buffer.alloc(18)]);

/** Sends a frame twenty times a second while something is done. */
async function flooding(from: Instance, frame: Buffer, meanwhile: () => Promise<void>): Promise<void> {
  const program = `import socket,time,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nwhile True:\n  s.send(bytes.fromhex(sys.argv[1]))\n  time.sleep(0.05)`;
  const flood = from.vm.spawn(["python3", "-c", program, frame.toString("hex")]);
  try {
    await sleep(500);
    await meanwhile();
  } finally {
    await flood.stop("SIGKILL");
  }
}
const shown = async ({ vm }: Instance, ip: string): Promise<string> =>
  (await vm.exec(["ip", "-6", "addr", "show", "dev", "eth0"])).stdout.split("\n").find((line) => line.includes(`${ip}/`))?.trim() ?? "none";
/** What became of an address once its owner looked for duplicates. */
async function settled(at: Instance, ip: string): Promise<string> {
  await until(`an end of duplicate address detection of ${ip}`, async () => {
    const line = await shown(at, ip);
    return line.includes("dadfailed") || (line !== "none" && !line.includes("tentative"));
  });
  return shown(at, ip);
}

test("an address is its owner's whoever probes for it while the owner looks for duplicates itself: one that is added, and what comes with the link", async () => {
  for (const owner of owners) {
    const ip = own(owner, true);
    await owner.vm.exec(["ip", "addr", "del", `${ip}/64`, "dev", "eth0"]);
    await flooding(prober, solicitation(prober, ip), async () => {
      await owner.vm.exec(["ip", "addr", "add", `${ip}/64`, "dev", "eth0"]);
      expect(await settled(owner, ip)).not.toMatch(/dadfailed/);
    });
    const link = linkLocal(macOf(owner));
    await owner.vm.exec(["ip", "link", "set", "eth0", "down"]);
    await flooding(prober, solicitation(prober, link), async () => {
      await owner.vm.exec(["ip", "link", "set", "eth0", "up"]);
      expect(await settled(owner, link)).not.toMatch(/dadfailed/);
    });
    await owner.vm.setAddress([`${own(owner, false)}/24`, `${ip}/64`]);
  }
}, 60_000);

test("no probe arrives at the owner, to whatever MAC it goes; who has no right to the address finds out that it is taken", async () => {
  for (const owner of owners) {
    const [four, six] = [own(owner, false), own(owner, true)];
    const capture = await owner.vm.tcpdump("-Q in arp or icmp6");
    const heard = await prober.vm.tcpdump("-Q in arp or icmp6");
    await sendRaw(prober.vm, [
      ...[BROADCAST, macOf(owner)].flatMap((to) => [arp(prober, four, 1, to), arp(prober, four, 2, to)]),
      ...[undefined, macOf(owner), BROADCAST].flatMap((to) => [solicitation(prober, six, to), solicitation(prober, linkLocal(macOf(owner)), to)]),
    ]);
    const answers = (what: string): number => heard.lines.filter((line) => line.includes(what)).length;
    await until("an answer to each", () => Promise.resolve(answers(`Reply ${four} is-at ${macOf(owner)}`) === 2 && answers(`tgt is ${six}`) === 3 && answers(`tgt is ${linkLocal(macOf(owner))}`) === 3));
    expect((await capture.stop()).lines.filter((line) => line.includes(`${macOf(prober)} >`))).toEqual([]);
    await heard.stop();
    // As hosts look for duplicates themselves.
    expect((await prober.vm.exec(["arping", "-D", "-c", "2", "-w", "3", "-I", "eth0", four], { allowFailure: true })).exitCode).toBe(1);
    await prober.vm.exec(["ip", "addr", "add", `${six}/64`, "dev", "eth0"]);
    expect(await settled(prober, six)).toMatch(/dadfailed/);
    await prober.vm.exec(["ip", "addr", "del", `${six}/64`, "dev", "eth0"]);
    // Nor is its owner told that it is taken, by itself.
    expect((await owner.vm.exec(["arping", "-D", "-c", "2", "-w", "3", "-I", "eth0", four], { allowFailure: true })).exitCode).toBe(0);
  }
}, 60_000);

test("what another port may have as well is asked of whoever has it: the owner hears who probes, and answers itself", async () => {
  for (const owner of owners) {
    const [four, six] = [own(owner, false), own(owner, true)];
    await cloud.update("port", prober.port.id, { allowed_address_pairs: [{ ip_address: four }, { ip_address: six }] });
    await cloud.synced();
    const capture = await owner.vm.tcpdump("-Q in arp or icmp6");
    await sendRaw(prober.vm, [arp(prober, four), solicitation(prober, six)]);
    await until("both probes", () => Promise.resolve(capture.lines.filter((line) => line.includes(`${macOf(prober)} >`)).length === 2));
    await capture.stop();
    expect((await prober.vm.exec(["arping", "-D", "-c", "2", "-w", "3", "-I", "eth0", four], { allowFailure: true })).exitCode).toBe(1);
    await cloud.update("port", prober.port.id, { allowed_address_pairs: [] });
    await cloud.synced();
  }
  expect(await cloud.differences()).toBe("");
}, 60_000);
