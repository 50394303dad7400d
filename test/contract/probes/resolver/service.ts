// From a packet to state and to an answer that comes later: that a port spoke is stored once, its question is answered in a moment.
import { PacketRateError, type PacketIn, type ServiceDecl, type ServiceHost } from "#app";
import { buildEthernet, buildIpv4, buildUdp, ethertypes, ipProtocols, PacketError, parsePacket } from "packet-codec";
import { portTable, toPort } from "../../../../apps/l2/model.ts";
import { spokenTable } from "./model.ts";

const THINKS_S = 0.05;

export const resolve: ServiceDecl = {
  name: "resolve",
  about: "answers questions",
  start(host) {
    host.onPacket("resolver_punt", (packet) => take(host, packet), { perPort: 8, total: 64 });
    return undefined;
  },
};

async function take(host: ServiceHost, packet: PacketIn): Promise<void> {
  const key = packet.register("in_port_key");
  const port = host.view.by(portTable, "key", String(key))[0];
  if (port === undefined) return;
  const answer = answerTo(host, packet);
  if (answer === undefined) return;
  host.after(THINKS_S, () => host.send([toPort(packet.chassis, packet.register("net"), key, answer)]));
  if (host.view.get(spokenTable, port.id) !== undefined) return;
  try {
    await host.transact(`port ${port.id} spoke`, (tx) => {
      if (tx.get(portTable, port.id) !== undefined && tx.get(spokenTable, port.id) === undefined) tx.put(spokenTable, { id: port.id, at: tx.now });
    });
  } catch (error) {
    if (!(error instanceof PacketRateError)) throw error; // its next question says it again
  }
}

function answerTo(host: ServiceHost, { data }: PacketIn): Buffer | undefined {
  try {
    const { eth, ipv4, udp } = parsePacket(data);
    if (ipv4 === undefined || udp === undefined) return undefined;
    const ends = { src: ipv4.dst, dst: ipv4.src };
    const answer = buildUdp({ src_port: udp.dst_port, dst_port: udp.src_port }, Buffer.concat([Buffer.from("answer to "), udp.payload]), ends);
    return buildEthernet({ dst: eth.src, src: eth.dst, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, answer));
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    host.log.debug({ err: error }, "a question that cannot be read");
    return undefined;
  }
}
