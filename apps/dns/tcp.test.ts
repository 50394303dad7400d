// Questions by TCP: whole answers, several at once, and what ends a connection. RFC 7766
import { afterEach, beforeEach, expect, test } from "vitest";
import { buildDns, parseDns, tcpFlags, type DnsMessage } from "packet-codec";
import type { Harness } from "../../test/support/harness.ts";
import { A, Names } from "./dns.fixture.ts";

let names: Names;
let h: Harness;
let asker: string;
beforeEach(async () => {
  names = await Names.make();
  ({ h } = names);
  ({ asker } = await names.cloud());
});
afterEach(() => h.close());

const framed = (...messages: readonly Buffer[]): Buffer => Buffer.concat(messages.flatMap((m) => [Buffer.from([m.length >> 8, m.length & 0xff]), m]));
const question = (id: number, name: string): Buffer => buildDns({ id, rd: true, questions: [A(name)] });
function messagesOf(bytes: Buffer): DnsMessage[] {
  const out: DnsMessage[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at)) out.push(parseDns(bytes.subarray(at + 2, at + 2 + bytes.readUInt16BE(at))));
  return out;
}

test("several on one connection, in pieces, each answered once", async () => {
  const connection = await names.connection(asker);
  const both = framed(question(1, "host-10-0-0-9"), question(2, "nobody"));
  expect(messagesOf(await connection.write(both.subarray(0, 1)))).toEqual([]);
  expect(messagesOf(await connection.write(both.subarray(1, 40)))).toHaveLength(1);
  expect(messagesOf(await connection.write(both.subarray(40)))).toMatchObject([{ id: 1, rcode: 0, answers: [{ data: { address: "10.0.0.9" } }] }, { id: 2, rcode: 3 }]);
  expect(h.complaints).toEqual([]);
});

test("what does not fit into a datagram is asked for by TCP, and given whole", async () => {
  names.answers = ({ id, questions }) => [{ id, qr: true, questions, answers: Array.from({ length: 200 }, (_, i) => ({ name: questions[0]!.name, class: 1, ttl: 9, type: "A" as const, data: { address: `198.51.100.${i}` } })) }];
  const cut = await names.ask(asker, { questions: [A("many.example")] });
  expect([cut!.tc, names.askedByTcp]).toEqual([true, 0]);
  const connection = await names.connection(asker);
  const [whole] = messagesOf(await connection.write(framed(question(3, "many.example"))));
  expect([whole!.tc, whole!.answers.length, whole!.id, names.askedByTcp]).toEqual([false, 200, 3, 1]);
});

test.each([
  ["no question", framed(Buffer.alloc(5))], ["an answer", framed(buildDns({ id: 1, qr: true, questions: [A("x")] }))], ["a message that is too long", Buffer.from([0xff, 0xff, 0, 0])],
])("%s ends the connection", async (_, bytes) => {
  const connection = await names.connection(asker);
  expect(await connection.write(bytes)).toHaveLength(0);
  expect(connection.flags() & tcpFlags.rst).toBe(tcpFlags.rst);
  expect(h.complaints).toEqual([]);
});

test("a connection on which nobody asks has an end, and so have those of a controller that stops", async () => {
  const idle = await names.connection(asker);
  await h.clock.run(11_000);
  expect(idle.flags() & tcpFlags.rst).toBe(tcpFlags.rst);
  const open = await names.connection(asker, "10.0.0.9", 5557);
  await open.write(framed(question(1, "host-10-0-0-9")));
  expect(open.flags() & tcpFlags.rst).toBe(0);
  await h.services.stop();
  expect(open.flags() & tcpFlags.rst).toBe(tcpFlags.rst);
});

test("very many questions at once: a few wait for name servers, all are answered in the end", async () => {
  const held: (() => void)[] = [];
  names.instead = (_, data, heard) => {
    const { id, questions } = parseDns(data);
    held.push(() => heard(buildDns({ id, qr: true, questions, answers: [] })));
    return { close: () => undefined };
  };
  const connection = await names.connection(asker);
  await connection.write(framed(...Array.from({ length: 40 }, (_, i) => question(i, `n${i}.example`))));
  expect(held.length).toBe(16);
  let said: DnsMessage[] = [];
  for (let n = 0; n < 40 && said.length < 40; n++) {
    for (const answer of held.splice(0)) answer();
    said = messagesOf(await connection.write(Buffer.alloc(0)));
  }
  expect(said.map((m) => m.id).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
});
