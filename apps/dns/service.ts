// Answers questions of machines, by UDP and by TCP: from the model, or by asking name servers outside.
import { defineCounter, FetchError, learned, Shares, TcpListener, type Endpoint, type PacketIn, type ServiceDecl, type ServiceHost } from "#app";
import {
  buildDns, buildEthernet, buildIpv4, buildIpv6, buildUdp, dnsOpcodes, dnsPort, dnsRcodes, ethertypes, ipProtocols, PacketError, parseDns, parsePacket, type DnsMessage, type DnsOptRecord, type Packet,
} from "packet-codec";
import { networkTable, portTable, senderOf, toPort, type Port } from "../l2/model.ts";
import { answer, UDP_SIZE } from "./answer.ts";
import { dnsSettings, nameServerTroubleTable, SERVICE } from "./model.ts";
import { readQuestions } from "./stream.ts";

/** What a machine takes that says nothing. RFC 1035 section 4.2.1 */
const PLAIN_SIZE = 512;
/** Questions of a port that others are asked at a time, and of all ports: each project has its share. */
const PER_PORT = 16;
const TOTAL = 200;
/** For one name server; the next is asked then. */
const TIMEOUT_MS = 2000;
const SERVERS_MAX = 3;
/** What a message by TCP may have. */
const TCP_SIZE = 65_535;
/** A machine that asks no more lets go of its connection, or loses it; one that asks for ever as well. Milliseconds. RFC 7766 section 6.2.3 */
const TCP_TIMES = { idleMs: 10_000, progressMs: 10_000, lifeMs: 120_000 };
/** Connections of one port. */
const TCP_PER_PORT = 4;

/** How questions end. */
export const questionCounter = defineCounter({
  name: "axion_dns_questions_total",
  about: "Questions of machines for names, by answer: own, from the model, of which unknown has no such name; forwarded, as a name server outside has it; failed, as none of these answers; limited, as too many wait; refused, what is not asked here; malformed, without any",
  label: "answer",
  values: ["own", "unknown", "forwarded", "failed", "limited", "refused", "malformed"],
});

/** Who asked, and how the answer gets back. */
interface Asked {
  readonly port: Port;
  readonly question: DnsMessage;
  /** The largest answer that the machine takes. */
  readonly size: number;
  /** By TCP: it is to have all of the answer. */
  readonly whole: boolean;
  reply(message: Buffer): void;
}

interface Waiting {
  readonly ending: AbortController;
}

export const nameService: ServiceDecl = {
  name: "name-service",
  about: "answers machines that ask for names: those of ports, and others by asking name servers",
  start(host) {
    const service = new NameService(host);
    host.onPacket("dns_request", (packet) => service.take(packet), { owner: (packet) => senderOf(host.view, packet)?.project_id });
    return () => service.stop();
  },
};

class NameService {
  private readonly host: ServiceHost;
  /** Questions that others are asked, by number. */
  private readonly waiting = new Shares<Waiting>(TOTAL);
  private readonly ofPort = new Map<string, number>();
  private last = 0;
  private readonly listener: TcpListener;

  constructor(host: ServiceHost) {
    this.host = host;
    this.listener = new TcpListener({
      host, port: dnsPort, mac: SERVICE.mac, times: TCP_TIMES, perMachine: TCP_PER_PORT,
      accept: (stream, { machine }) => readQuestions(stream, (message, reply) => {
        const port = host.view.get(portTable, machine);
        const question = port === undefined ? undefined : this.questionOf(message);
        if (port === undefined || question === undefined) return false;
        this.ask({ port, question, size: TCP_SIZE, whole: true, reply });
        return true;
      }),
    });
  }

  stop(): void {
    this.listener.stop();
  }

  take(packet: PacketIn): void {
    const { view } = this.host;
    const port = senderOf(view, packet);
    const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
    if (port === undefined || network === undefined) return;
    const answerBy = (data: Buffer): void => this.host.send([toPort(packet.chassis, network.key, port.key, data)]);
    const frame = this.sound(() => parsePacket(packet.data));
    if (frame?.tcp !== undefined) this.listener.take(packet.data, { machine: port.id, owner: port.project_id, reply: answerBy });
    const udp = frame?.udp;
    if (frame === undefined || udp === undefined || udp.dst_port !== dnsPort || frame.ipv4?.complete === false) return;
    const question = this.questionOf(udp.payload);
    if (question === undefined) return;
    const size = Math.min(UDP_SIZE, Math.max(PLAIN_SIZE, optOf(question)?.udp_size ?? PLAIN_SIZE));
    this.ask({ port, question, size, whole: false, reply: (message) => answerBy(frameTo(frame, udp.src_port, message)) });
  }

  private questionOf(message: Buffer): DnsMessage | undefined {
    const question = this.sound(() => parseDns(message));
    return question?.qr === false ? question : undefined;
  }

  /** undefined: it cannot be read. */
  private sound<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.host.count(questionCounter, "malformed");
      this.host.log.debug({ err: error }, "malformed question");
      return undefined;
    }
  }

  private ask(asked: Asked): void {
    const { question } = asked;
    const refusal = question.opcode !== dnsOpcodes.query ? dnsRcodes.notImplemented : (optOf(question)?.version ?? 0) > 0 ? dnsRcodes.badVersion : undefined;
    const reply = refusal === undefined ? answer(this.host.view, asked.port, question) : { rcode: refusal, answers: [] };
    if (reply === undefined) {
      this.askOthers(asked);
      return;
    }
    this.host.count(questionCounter, reply.rcode === dnsRcodes.noError ? "own" : reply.rcode === dnsRcodes.nameError ? "unknown" : "refused");
    asked.reply(answerTo(asked, { ...reply, answers: [...reply.answers], aa: refusal === undefined }));
  }

  /** Not waited for: a port's next question does not wait for a name server. */
  private askOthers(asked: Asked): void {
    const { id, project_id } = asked.port;
    const mine = this.ofPort.get(id) ?? 0;
    if (!asked.question.rd || mine >= PER_PORT || !this.waiting.admits(project_id)) {
      this.host.count(questionCounter, asked.question.rd ? "limited" : "refused");
      asked.reply(answerTo(asked, { rcode: asked.question.rd ? dnsRcodes.serverFailure : dnsRcodes.refused }));
      return;
    }
    const key = String(++this.last);
    const ending = new AbortController();
    this.waiting.put(key, project_id, { ending })?.[1].ending.abort();
    this.ofPort.set(id, mine + 1);
    this.host.after(0, () => this.forward(asked, ending.signal).finally(() => {
      this.waiting.delete(key);
      const left = this.ofPort.get(id)! - 1;
      if (left > 0) this.ofPort.set(id, left);
      else this.ofPort.delete(id);
    }));
  }

  private async forward(asked: Asked, signal: AbortSignal): Promise<void> {
    const { host } = this;
    const configured = host.view.settings(dnsSettings)["dns-forwarders"];
    const servers = (configured.length > 0 ? configured : host.nameServers()).slice(0, SERVERS_MAX);
    for (const server of servers) {
      const found = signal.aborted ? undefined : await this.askServer(server, asked, signal);
      if (found === undefined) continue;
      this.host.count(questionCounter, "forwarded");
      asked.reply(found);
      return;
    }
    this.host.count(questionCounter, signal.aborted ? "limited" : "failed");
    asked.reply(answerTo(asked, { rcode: dnsRcodes.serverFailure }));
  }

  /** undefined: it does not answer. */
  private async askServer(server: Endpoint, { question, size, whole }: Asked, signal: AbortSignal): Promise<Buffer | undefined> {
    const id = this.host.random.bytes(2).readUInt16BE();
    const [asks] = question.questions;
    const query = buildDns({ id, opcode: dnsOpcodes.query, rd: true, cd: question.cd, ad: question.ad, questions: question.questions, additionals: [{ type: "OPT", udp_size: Math.min(size, UDP_SIZE), extended_rcode: 0, version: 0, flags: optOf(question)?.flags ?? 0, options: [] }] });
    const accept = (data: Buffer): boolean => {
      try {
        const { qr, id: of, questions } = parseDns(data);
        return qr && of === id && questions.length === 1 && questions[0]!.name.toLowerCase() === asks!.name.toLowerCase() && questions[0]!.type === asks!.type;
      } catch (error) {
        if (!(error instanceof PacketError)) throw error;
        return false;
      }
    };
    try {
      const message = parseDns(await this.host.exchange(server, query, { timeoutMs: TIMEOUT_MS, accept, signal, overTcp: whole }));
      const opt = optOf(message);
      const additionals = message.additionals.filter((record) => record !== opt);
      return buildDns({ ...message, id: question.id, questions: question.questions, ra: true, aa: false, additionals: optOf(question) === undefined ? additionals : [...additionals, ourOpt(opt?.extended_rcode ?? 0, opt?.flags ?? 0)] }, size);
    } catch (error) {
      // What it says is no message, or one that cannot be said again.
      if (error instanceof PacketError || error instanceof RangeError) return undefined;
      if (!(error instanceof FetchError)) throw error;
      if (error.code !== "STOPPED") this.host.learn([learned(nameServerTroubleTable, "", { id: `${server.address} ${server.port}`, text: error.message })]);
      return undefined;
    }
  }
}

const optOf = ({ additionals }: DnsMessage): DnsOptRecord | undefined => additionals.find((record) => record.type === "OPT");
const ourOpt = (extended_rcode: number, flags = 0): DnsOptRecord => ({ type: "OPT", udp_size: UDP_SIZE, extended_rcode, version: 0, flags, options: [] });

function answerTo({ question, size }: Asked, { rcode = dnsRcodes.noError, ...rest }: Partial<DnsMessage>): Buffer {
  const additionals = optOf(question) === undefined ? [] : [ourOpt(rcode >>> 4)];
  return buildDns({ id: question.id, qr: true, opcode: question.opcode, rd: question.rd, ra: true, questions: question.questions, ...rest, rcode: rcode & 0xf, additionals }, size);
}

/** From the service, back to who asked. */
function frameTo({ eth, ipv4, ipv6 }: Packet, port: number, message: Buffer): Buffer {
  const ends = ipv4 === undefined ? { src: SERVICE.ipv6, dst: ipv6!.src } : { src: SERVICE.ipv4, dst: ipv4.src };
  const datagram = buildUdp({ src_port: dnsPort, dst_port: port }, message, ends);
  const head = { dst: eth.src, src: SERVICE.mac } as const;
  return ipv4 === undefined
    ? buildEthernet({ ...head, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.udp }, datagram))
    : buildEthernet({ ...head, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, datagram));
}
