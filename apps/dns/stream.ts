// DNS over a stream: each message behind its length. Questions of one connection may overtake each other; of those that wait there are few, and the rest is read later.
// RFC 1035 section 4.2.2, RFC 7766
import { framed, Messages, type TcpStream } from "#app";

/** Questions of one connection that wait for their answers. */
const WAITING_MAX = 16;
/** Bytes of a question: names have 255, and what goes with one is little. */
const QUESTION_MAX = 4096;

/** Takes questions of a stream until it ends; `answer` calls `reply` once, now or later. What is no question ends the stream. */
export function readQuestions(stream: TcpStream, answer: (message: Buffer, reply: (message: Buffer) => void) => boolean): void {
  const questions = new Messages();
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
    while (!stream.destroyed && waiting < WAITING_MAX && !stream.writableNeedDrain) {
      if ((questions.length ?? 0) > QUESTION_MAX) {
        stream.destroy();
        break;
      }
      const message = questions.next();
      if (message === undefined) break;
      waiting++;
      const isQuestion = answer(message, (reply) => {
        waiting--;
        if (!stream.destroyed) stream.write(framed(reply));
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
    questions.push(chunk);
    go();
  });
  stream.on("drain", go);
  stream.on("end", () => {
    ended = true;
    finish();
  });
}
