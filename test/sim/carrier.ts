// How a simulated controller speaks to a member of the simulated etcd: calls and streams on one connection, as gRPC carries them, with its deadlines
// and its pings; without HTTP/2.
import { EventEmitter } from "node:events";
import type { Carrier } from "etcd-v3-client";
import type { EtcdAnswer, EtcdCall } from "./etcd-state.ts";
import type { End, Network } from "./network.ts";
import type { Machine } from "./world.ts";

type Callback = (error: { code: number; details: string } | null, bytes?: Buffer) => void;
interface Waiting {
  readonly take: (bytes: Buffer) => void;
  readonly fail: (code: number, details: string) => void;
  readonly stream: boolean;
}

const [CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE] = [1, 4, 14];
/** As endpoints.ts of the client sets them for gRPC. */
const [PING_MS, PING_TIMEOUT_MS] = [5000, 2000];

export function carrierOf(network: Network, machine: Machine, address: string): Carrier {
  let end: End | undefined;
  let calls = 0;
  const waiting = new Map<number, Waiting>();
  let pinging: NodeJS.Timeout | undefined;

  const lost = (details: string): void => {
    end = undefined;
    clearTimeout(pinging);
    const all = [...waiting.values()];
    waiting.clear();
    for (const one of all) one.fail(UNAVAILABLE, details);
  };
  const ping = (): void => {
    pinging = setTimeout(() => {
      if (end === undefined) return;
      if (waiting.size === 0) {
        ping();
        return;
      }
      end.send(Buffer.alloc(0), { call: 0, path: "ping", stream: false } satisfies EtcdCall);
      pinging = setTimeout(() => {
        end?.reset();
        lost("Connection dropped");
      }, PING_TIMEOUT_MS);
    }, PING_MS);
  };
  const connected = (): End => {
    if (end !== undefined) return end;
    const mine = (end = network.dial(machine, address, "etcd"));
    let opened = false;
    mine.handlers = {
      opened: () => (opened = true),
      data: (bytes, message) => {
        clearTimeout(pinging);
        ping();
        const { call, error } = message as EtcdAnswer;
        const one = waiting.get(call);
        if (one === undefined) return;
        if (!one.stream || error !== undefined) waiting.delete(call);
        if (error === undefined) one.take(bytes);
        else one.fail(error.code, error.details);
      },
      ended: () => mine.reset(),
      reset: () => {
        if (end === mine) lost(opened ? "Connection dropped" : "No connection established. Last error: connect ECONNREFUSED");
      },
    };
    ping();
    return mine;
  };
  const begin = (path: string, one: Waiting, deadline: number | undefined, bytes: Buffer | undefined): number => {
    const call = ++calls;
    const over = deadline === undefined ? undefined : setTimeout(() => {
      if (waiting.delete(call)) one.fail(DEADLINE_EXCEEDED, "Deadline exceeded");
    }, Math.max(1, deadline - Date.now()));
    waiting.set(call, { ...one, take: (answer) => {
      if (!one.stream) clearTimeout(over);
      one.take(answer);
    }, fail: (code, details) => {
      clearTimeout(over);
      one.fail(code, details);
    } });
    if (bytes !== undefined) connected().send(bytes, { call, path, stream: one.stream } satisfies EtcdCall);
    return call;
  };

  const carrier = {
    makeUnaryRequest: (path: string, _a: unknown, _b: unknown, bytes: Buffer, _metadata: unknown, { deadline }: { deadline: number }, done: Callback) => {
      begin(path, { stream: false, take: (answer) => done(null, answer), fail: (code, details) => done({ code, details }) }, deadline, bytes);
    },
    makeBidiStreamRequest: (path: string, _a: unknown, _b: unknown, _metadata: unknown, options?: { deadline: number }) => {
      const stream = new EventEmitter();
      let over = false;
      let call = 0;
      const fail = (code: number, details: string): void => {
        if (over) return;
        over = true;
        if (stream.listenerCount("error") > 0) stream.emit("error", { code, details });
      };
      return Object.assign(stream, {
        write: (bytes: Buffer) => {
          call = begin(path, { stream: true, take: (answer) => !over && stream.emit("data", answer), fail }, options?.deadline, bytes);
        },
        end: () => undefined,
        cancel: () => {
          if (over) return;
          if (waiting.delete(call) && end !== undefined) end.send(Buffer.alloc(0), { call, path, stream: true, ends: true } satisfies EtcdCall);
          queueMicrotask(() => fail(CANCELLED, "Cancelled on client"));
        },
      });
    },
    close: () => {
      end?.reset();
      lost("the client was closed");
    },
  };
  return carrier as unknown as Carrier;
}
