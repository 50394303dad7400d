// Machines that send more questions of one kind than anybody answers: frames as a machine of its MAC and address sends them, at a rate, from within its namespace.
import {
  buildDhcp, buildDns, buildEthernet, buildIcmpv6, buildIpv4, buildIpv6, buildRouterSolicitation, buildTcp, buildUdp, ethertypes, icmpv6Types, ipProtocols, ipv6MulticastMac, linkLocal, tcpFlags,
} from "packet-codec";
import type { Guest } from "../guest.ts";

/** Who floods, and where its network's services are. */
export interface Flooder {
  readonly mac: string;
  readonly ip: string;
}
export const floodKinds = ["dhcp", "dns", "rs", "metadata"] as const;
/** "dropped": of a MAC that the port may not send from, so that its switch drops them first of all. */
export type FloodKind = (typeof floodKinds)[number] | "dropped";

const DNS = "169.254.169.253";
const METADATA = "169.254.169.254";
/** Different frames of a kind, sent in turns. */
const FRAMES = 512;

function frameOf(kind: FloodKind, { mac, ip }: Flooder, n: number): Buffer {
  const four = (src: string, dst: string, dstMac: string, protocol: number, payload: Buffer): Buffer =>
    buildEthernet({ dst: dstMac, src: mac, ethertype: ethertypes.ipv4 }, buildIpv4({ src, dst, protocol }, payload));
  switch (kind) {
    case "dropped":
      return frameOf("dns", { mac: "02:00:00:00:00:01", ip }, n);
    case "dhcp": {
      const ends = { src: "0.0.0.0", dst: "255.255.255.255" };
      const message = buildDhcp({ op: 1, xid: n + 1, chaddr: mac, options: new Map([[53, Buffer.of(1)]]) });
      return four(ends.src, ends.dst, "ff:ff:ff:ff:ff:ff", ipProtocols.udp, buildUdp({ src_port: 68, dst_port: 67 }, message, ends));
    }
    case "dns": {
      const ends = { src: ip, dst: DNS };
      const message = buildDns({ id: n + 1, rd: true, questions: [{ name: "nobody.axion.internal.", type: 1, class: 1 }] });
      return four(ip, DNS, "fe:ff:ff:ff:ff:02", ipProtocols.udp, buildUdp({ src_port: 20_000 + n, dst_port: 53 }, message, ends));
    }
    case "rs": {
      const ends = { src: linkLocal(mac), dst: "ff02::2" };
      const body = buildIcmpv6({ type: icmpv6Types.routerSolicitation, code: 0 }, buildRouterSolicitation({ source_lladdr: mac }), ends);
      return buildEthernet({ dst: ipv6MulticastMac(ends.dst), src: mac, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: 255 }, body));
    }
    case "metadata": {
      const ends = { src: ip, dst: METADATA };
      return four(ip, METADATA, "fe:ff:ff:ff:ff:03", ipProtocols.tcp, buildTcp({ src_port: 20_000 + n, dst_port: 80, seq: n, flags: tcpFlags.syn, window: 60_000 }, Buffer.alloc(0), ends));
    }
  }
}

/** In ticks of ten milliseconds; what it could not send in time it does not make up for. Says how many it has sent. */
const SENDER = `
import socket, sys, time
frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
rate, seconds = int(sys.argv[1]), float(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
began = tick = time.monotonic()
sent = 0
while time.monotonic() - began < seconds:
    for _ in range(rate // 100):
        try: s.send(frames[sent % len(frames)])
        except OSError: pass
        sent += 1
    tick = max(tick + .01, time.monotonic() - .1)
    time.sleep(max(0, tick - time.monotonic()))
print(sent, flush=True)
`;

/** Sends frames of these kinds in turns, so many a second in all, for so long. How many were sent. */
export async function flood(guest: Guest, flooder: Flooder, kinds: readonly FloodKind[], perSecond: number, seconds: number): Promise<number> {
  const lines = Array.from({ length: FRAMES }, (_, n) => frameOf(kinds[n % kinds.length]!, flooder, n).toString("hex"));
  const { stdout } = await guest.exec(["python3", "-c", SENDER, String(perSecond), String(seconds)], { input: lines.join("\n"), timeoutMs: (seconds + 30) * 1000 });
  return Number(stdout);
}
