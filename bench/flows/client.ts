// Callers of the ops listener in a process of their own, so that what they do is not taken for the controller's: `read` reads an answer once and says how
// long it was and took, `probe` asks /healthz again and again until it is told to stop and says how long each answer took.
import { Agent, get, type IncomingMessage } from "node:http";
import { once } from "node:events";

export interface ReadResult {
  readonly bytes: number;
  readonly ms: number;
}

export interface ProbeResult {
  readonly ms: readonly number[];
}

/** Between two questions of a probe. */
const PAUSE_MS = 2;

const [, , what, port, path = "/healthz"] = process.argv;
const agent = new Agent({ keepAlive: true });

async function read(): Promise<ReadResult> {
  const began = performance.now();
  const [response] = (await once(get({ port, host: "127.0.0.1", path, agent }), "response")) as [IncomingMessage];
  let bytes = 0;
  response.on("data", (chunk: Buffer) => (bytes += chunk.length));
  await once(response, "close");
  if (!response.complete) throw new Error(`${path} broke off after ${bytes} bytes`);
  return { bytes, ms: performance.now() - began };
}

async function probe(): Promise<ProbeResult> {
  const ms: number[] = [];
  let stopped = false;
  process.on("message", () => (stopped = true));
  process.send!("ready");
  while (!stopped) {
    ms.push((await read()).ms);
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  return { ms };
}

process.send!(what === "probe" ? await probe() : await read(), () => process.exit(0));
