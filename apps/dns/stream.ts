// DNS over a stream: each message behind its length. Questions of one connection may overtake each other; of those that wait there are few, and the rest is read later.
// RFC 1035 section 4.2.2, RFC 7766
import type { TcpStream } from "#app";

/** Questions of one connection that wait for their answers. */
const WAITING_MAX = 16;
/** Bytes of a question: names have 255, and what goes with one is little. */
const QUESTION_MAX = 4096;

/** Takes questions of a stream until it ends; `answer` calls `reply` once, now or later. What is no question ends the stream. */
export function readQuestions(stream: TcpStream, answer: (message: Buffer, reply: (message: Buffer) => void) => boolean): void {
  let unread = Buffer.alloc(0);
  let waiting = 0;
  let ended = false;
  /** It is being read: an answer that is there at once does not begin anew. */
  let reading = false;
  const finish = (): void => {
    if (ended && waiting === 0 && !stream.destroyed) stream.end();
  };
  const go = (): void => {
    if (reading) return;
    reading = true;
    while (!stream.destroyed && waiting < WAITING_MAX && !stream.writableNeedDrain && unread.length >= 2) {
      const length = unread.readUInt16BE(0);
      if (length > QUESTION_MAX) {
        stream.destroy();
        break;
      }
      if (unread.length < 2 + length) break;
      const message = unread.subarray(2, 2 + length);
      unread = unread.subarray(2 + length);
      waiting++;
      const isQuestion = answer(message, (reply) => {
        waiting--;
        if (!stream.destroyed) {
          const framed = Buffer.alloc(2 + reply.length);
          framed.writeUInt16BE(reply.length);
          reply.copy(framed, 2);
          stream.write(framed);
        }
        go();
      });
      if (!isQuestion) stream.destroy();
    }
    reading = false;
    if (waiting >= WAITING_MAX || stream.writableNeedDrain) stream.pause();
    else if (stream.isPaused()) stream.resume();
    finish();
  };
  stream.on("data", (chunk: Buffer) => {
    unread = Buffer.concat([unread, chunk]);
    go();
  });
  stream.on("drain", go);
  stream.on("end", () => {
    ended = true;
    finish();
  });
}
