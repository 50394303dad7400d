// Answers machines by HTTP over TCP that the controller speaks itself, from packets that their switch hands up: who asks is known by the port that sent them.
import { defineCounter, HttpService, learned, Shares, TcpListener, type HttpAnswer, type HttpRequest, type PacketIn, type ServiceDecl, type ServiceHost, type TcpPeer, type TcpStream } from "#app";
import { networkTable, portTable, senderOf, toPort, type Port } from "../l2/model.ts";
import { builtIn } from "./built-in.ts";
import type { GivenFile } from "./given.ts";
import { metadataSettings, metadataTroubleTable, notFound, SERVICE, sourceOf } from "./model.ts";
import { NovaMetadata } from "./nova.ts";

/** What answers that machines still read may take, in pieces: of all, shared among projects. */
const PIECE = 1 << 18;
const PIECES = 256;
/** Packets of one port that wait: a window of segments and acknowledgements. */
const PACKETS_OF_PORT = 64;

const CLASSES = ["2xx", "3xx", "4xx", "5xx"] as const;
/** How requests end. */
export const requestCounter = defineCounter({
  name: "axion_metadata_requests_total", about: "Requests of machines for metadata, by class of the answer's status", label: "status", values: CLASSES,
});

interface Machine extends TcpPeer {
  readonly stream: TcpStream;
}

export const metadataService: ServiceDecl = {
  name: "metadata-service",
  about: "answers machines that ask for their metadata at 169.254.169.254 and fe80::a9fe:a9fe",
  start(host) {
    if (sourceOf(host.view) === undefined) return undefined;
    const service = new MetadataService(host);
    host.onPacket("metadata_request", (packet) => service.take(packet), { perPort: PACKETS_OF_PORT, owner: (packet) => senderOf(host.view, packet)?.project_id });
    return () => service.stop();
  },
};

class MetadataService {
  private readonly host: ServiceHost;
  private readonly listener: TcpListener;
  private readonly source: (port: Port, peer: TcpPeer, request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
  /** Pieces of answers, with what ends the connection that they go to. */
  private readonly held = new Shares<TcpStream>(PIECES);
  private last = 0;

  constructor(host: ServiceHost) {
    this.host = host;
    const { "nova-metadata-url": url, "metadata-file": file } = host.view.settings(metadataSettings);
    if (url === undefined) {
      const given = JSON.parse(file!.toString()) as GivenFile;
      this.source = (port, _, request) => builtIn(host.view, port, given, request);
    } else {
      const nova = new NovaMetadata(host, url, (why) => host.learn([learned(metadataTroubleTable, "nova", { id: "nova", text: why })]));
      this.source = (port, { address }, request) => nova.answer(port, address, request);
    }
    const http = new HttpService<Machine>({ answer: (request, peer) => this.answer(request, peer), failed: (error) => host.log.error({ err: error }, "metadata is not answered"), answered: (status) => host.count(requestCounter, CLASSES[Math.floor(status / 100) - 2] ?? "5xx") });
    this.listener = new TcpListener({
      host, port: SERVICE.port, mac: SERVICE.mac, accept: (stream, peer) => http.serve(stream, { ...peer, stream }),
    });
  }

  take(packet: PacketIn): void {
    const { view } = this.host;
    const port = senderOf(view, packet);
    const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
    if (port === undefined || network === undefined) return;
    this.listener.take(packet.data, { machine: port.id, owner: port.project_id, reply: (frame) => this.host.send([toPort(packet.chassis, network.key, port.key, frame)]) });
  }

  stop(): void {
    this.listener.stop();
  }

  private async answer(request: HttpRequest, peer: Machine): Promise<HttpAnswer> {
    const port = this.host.view.get(portTable, peer.machine);
    if (port === undefined) return notFound;
    const said = await this.source(port, peer, request);
    const pieces = Array.from({ length: Math.ceil(Buffer.byteLength(said.body ?? "") / PIECE) }, () => String(++this.last));
    // Whoever has most of what is not read yet gives way: its connection is over.
    for (const piece of pieces) this.held.push(piece, port.project_id, peer.stream)?.[1].destroy();
    return { ...said, over: () => pieces.forEach((piece) => this.held.delete(piece)) };
  }
}
