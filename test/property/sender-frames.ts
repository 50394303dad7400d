// Frames near what a port may send: from what it has, from what is just beside that, and from what others have. Checksums are 0: no switch looks at them.
import { parseIp } from "../../src/lib/address.ts";
import type { SeededRandom } from "../../src/lib/random.ts";
import { edges } from "./policy-world.ts";
import type { Port } from "./policy-model.ts";
import { linkLocal, sources, type Frame, type LinkLayer } from "./sender-model.ts";

const u16 = (...values: number[]): Buffer => Buffer.concat(values.map((n) => Buffer.from([n >>> 8, n & 0xff])));
const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");
const ipBytes = (text: string): Buffer => {
  const ip = parseIp(text)!;
  return Buffer.from(ip.value.toString(16).padStart(ip.family === 4 ? 8 : 32, "0"), "hex");
};

export function bytesOf(frame: Frame): Buffer {
  const head = Buffer.concat([macBytes(frame.destinationMac), macBytes(frame.sourceMac), ...(frame.tag === undefined ? [] : [u16(frame.tag, 100)])]);
  if (frame.kind === "other") return Buffer.concat([head, u16(frame.type), Buffer.alloc(46)]);
  if (frame.kind === "arp") {
    return Buffer.concat([head, u16(0x806, 1, 0x800, 0x604, frame.op), macBytes(frame.sha), ipBytes(frame.source), Buffer.alloc(6), ipBytes(frame.target), Buffer.alloc(frame.padding)]);
  }
  const body = frame.kind === "ip" ? transport(frame) : discovery(frame);
  if (!frame.source.includes(":")) {
    const ip = Buffer.concat([Buffer.from([0x45, 0]), u16(20 + body.length, 1, frame.kind !== "ip" || frame.fragment === "no" ? 0 : frame.fragment === "first" ? 0x2000 : 0x2010), Buffer.from([64, frame.kind === "ip" ? frame.protocol : 58, 0, 0]), ipBytes(frame.source), ipBytes(frame.destination)]);
    return frame.kind === "ip" && frame.snap ? Buffer.concat([head, u16(8 + ip.length + body.length), Buffer.from("aaaa03000000", "hex"), u16(0x800), ip, body]) : Buffer.concat([head, u16(0x800), ip, body]);
  }
  let next = frame.kind === "ip" ? frame.protocol : 58;
  let rest = body;
  if (frame.fragment !== "no") {
    rest = Buffer.concat([Buffer.from([next, 0]), u16(frame.fragment === "first" ? 1 : 0x81, 0, 9), rest]);
    next = 44;
  }
  if (frame.kind === "discovery" && frame.extension) {
    rest = Buffer.concat([Buffer.from([next, 0, 1, 4, 0, 0, 0, 0]), rest]);
    next = 60;
  }
  const ip = Buffer.concat([Buffer.from([0x60, 0, 0, 0]), u16(rest.length), Buffer.from([next, frame.kind === "discovery" ? frame.hops : 64]), ipBytes(frame.source), ipBytes(frame.destination)]);
  return Buffer.concat([head, u16(0x86dd), ip, rest]);
}

function transport({ protocol, ports, fragment }: Frame & { kind: "ip" }): Buffer {
  if (fragment === "later") return Buffer.alloc(16, 0xab);
  if (protocol === 17) return Buffer.concat([u16(...ports, 16, 0), Buffer.alloc(8)]);
  if (protocol === 6) return Buffer.concat([u16(...ports), Buffer.alloc(8), u16(0x5002), Buffer.alloc(6)]);
  return Buffer.concat([Buffer.from([protocol === 58 ? 128 : 8, 0]), Buffer.alloc(14)]);
}

function discovery({ type, code, target, options, nonce }: Frame & { kind: "discovery" }): Buffer {
  const head = Buffer.from([type, code, 0, 0, 0, 0, 0, 0]);
  const targets = { 133: [], 134: [Buffer.alloc(8)], 135: [ipBytes(target)], 136: [ipBytes(target)], 137: [ipBytes(target), ipBytes(target)] }[type]!;
  const said = options.map((o) => Buffer.concat([Buffer.from([o.kind, 1]), macBytes(o.mac)]));
  return Buffer.concat([head, ...targets, ...said, ...(nonce === 0 ? [] : [Buffer.from([14, nonce / 8]), Buffer.alloc(nonce - 2, 1)])]);
}

/** Draws frames of a port; `far`: a port at another host, to which what leaves is carried. */
export function drawFrame(random: SeededRandom, port: Port, far: Port, ports: readonly Port[]): Frame {
  const below = (n: number): number => Math.floor(random.next() * n);
  const chance = (part: number): boolean => random.next() < part;
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const others = ports.filter((p) => p.id !== port.id);
  const strangers = [...others.flatMap((p) => [p.mac_address, ...p.allowed_address_pairs.map((a) => a.mac_address)]), "02:de:ad:00:00:01"];
  const own = sources(port, ports);
  const macs = [port.mac_address, ...port.allowed_address_pairs.map((a) => a.mac_address)];
  const six = chance(0.5);
  const ofFamily = (ip: string): boolean => ip.includes(":") === six;
  const near = [...own.map((s) => s.range), ...port.allowed_address_pairs.map((a) => a.ip_address)].filter(ofFamily).flatMap(edges);
  const far4 = others.flatMap((p) => [...p.fixed_ips.map((f) => f.ip_address), ...p.allowed_address_pairs.flatMap((a) => edges(a.ip_address))]);
  const nobody = six ? "::" : "0.0.0.0";
  const any = [...near, ...near, ...far4, nobody, nobody, ...[...macs, ...strangers].map(linkLocal), "fe80::1", "10.0.0.200"].filter(ofFamily);
  /** Of what the port may send, whole; or of two things that do not go together. */
  const whole = own.filter((s) => ofFamily(s.range)).flatMap((s) => edges(s.range).map((ip) => [s.mac, ip] as const));
  const [sourceMac, source] = chance(0.08) ? [pick(macs), nobody] as const : whole.length > 0 && chance(0.7) ? pick(whole) : [pick([...macs, ...macs, ...macs, pick(strangers)]), pick(any)];
  const tag = chance(0.04) ? { tag: pick([0x8100, 0x88a8, 0x9100]) } : {};
  const common = { ...tag, sourceMac, destinationMac: far.mac_address };
  const destination = far.fixed_ips.map((f) => f.ip_address).find(ofFamily)!;
  if (chance(0.03)) return { ...common, kind: "other", type: pick([0x88cc, 0x8035, 0x86dc]) };
  if (!six && chance(0.5)) {
    return { ...common, kind: "arp", op: pick([1, 1, 2]), sha: chance(0.9) ? sourceMac : pick([...macs, ...strangers]), source, target: pick([source, pick(any), "10.0.0.1", "10.0.0.77"]), padding: pick([0, 18, 18, 22, 23, 86]), destinationMac: chance(0.5) ? "ff:ff:ff:ff:ff:ff" : far.mac_address };
  }
  if (six && chance(0.6)) {
    const type = pick([133, 134, 135, 135, 135, 136, 136, 136, 137]);
    const target = chance(0.9) ? pick([source, source, pick([...near, ...near, ...any])]) : "::";
    const kind = type === 136 ? 2 : 1;
    const said = (mac: string): LinkLayer => ({ kind, mac });
    const other: LinkLayer = { kind: kind === 1 ? 2 : 1, mac: pick(strangers) };
    const mine = said(sourceMac);
    const options = type === 133 ? pick([[], [mine]]) : source === "::" ? pick([[], [], [mine]]) : pick([[], [mine], [mine], [mine], [said(pick([...macs, ...strangers]))], [said("00:00:00:00:00:00")], [mine, mine], [mine, said(pick(strangers))], [mine, other], [other, mine]]);
    const group = pick(["ff02::1:ff00:5", "ff02::1:ff00:5", "ff02::1", "ff02::2", destination]);
    const to = type === 133 && chance(0.8) ? "ff02::2" : group;
    return {
      ...common, kind: "discovery", type, code: chance(0.95) ? 0 : 1, hops: chance(0.95) ? 255 : 64, source, destination: to, destinationMac: to === destination ? far.mac_address : `33:33:${to === "ff02::1:ff00:5" ? "ff:00:00:05" : to === "ff02::1" ? "00:00:00:01" : "00:00:00:02"}`,
      target, options, nonce: pick([0, 0, 0, 8, 16, 40, 48]), fragment: chance(0.95) ? "no" : "first", extension: chance(0.1),
    };
  }
  return {
    ...common, kind: "ip", source, destination, protocol: pick([6, 17, 17, six ? 58 : 1]), ports: pick(six ? [[547, 546], [546, 547], [5000, 53]] : [[67, 68], [68, 67], [68, 67], [5000, 53]]),
    fragment: pick(["no", "no", "no", "no", "first", "later"]), snap: !six && tag.tag === undefined && chance(0.1),
  };
}
