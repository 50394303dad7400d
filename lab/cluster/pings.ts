// Pings between many VMs by one process, each of which is followed: hundreds of `ping` would be what a machine is busy with.
import { writeFile } from "node:fs/promises";
import { Running } from "../exec.ts";
import type { Lab } from "../lab.ts";
import type { NetNs } from "../netns.ts";

export interface PingPair {
  readonly from: NetNs;
  /** IPv4. */
  readonly to: string;
  readonly intervalMs: number;
}

export interface PingsResult {
  readonly sent: number;
  readonly received: number;
  /** Answers that came again. */
  readonly duplicates: number;
  readonly longestMs: number;
  /** Those without an answer after five seconds, the first thousand: which pair, and when it was sent, in milliseconds after the beginning. */
  readonly lost: readonly { readonly pair: number; readonly atMs: number }[];
}

/** Python, for setns(2), which Node has not: a raw socket for each namespace, all of them in one process. */
const PINGS_PY = String.raw`
import ctypes, heapq, json, os, selectors, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def enter(path):
    fd = os.open(path, os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns " + path)
    os.close(fd)
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
unread = b""
def lines():
    global unread
    data = os.read(0, 1 << 20)
    if data == b"": sys.exit(0)
    *whole, unread = (unread + data).split(b"\n")
    return whole
first = []
while not first: first = lines()
pairs = json.loads(first[0])
selector, sockets = selectors.DefaultSelector(), {}
for name, _, _ in pairs:
    if name not in sockets:
        enter("/run/netns/" + name)
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.setsockopt(255, 1, struct.pack("I", 0xffffffff & ~1))  # SOL_RAW, ICMP_FILTER: echo replies alone
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, name)
        sockets[name] = sock
selector.register(0, selectors.EVENT_READ, None)
count, waiting, answered = [0] * len(pairs), [{} for _ in pairs], [0] * len(pairs)
state = {"received": 0, "duplicates": 0, "longest": 0.0, "sent": 0, "began": time.monotonic(), "stop": None}
since = [0] * len(pairs)
start = time.monotonic()
due = [(start + interval / 1000 * (i / len(pairs)), i) for i, (_, _, interval) in enumerate(pairs)]
heapq.heapify(due)
def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
def send(i, now):
    name, to, _ = pairs[i]
    n = count[i]
    body = struct.pack("!QQ", i, n)
    head = struct.pack("!BBHHH", 8, 0, 0, i & 0xffff, n & 0xffff)
    head = struct.pack("!BBHHH", 8, 0, checksum(head + body), i & 0xffff, n & 0xffff)
    count[i] += 1
    waiting[i][n] = now
    if n >= since[i]: state["sent"] += 1
    try:
        sockets[name].sendto(head + body, (to, 0))
    except OSError:
        pass  # it is lost then
def receive(sock, name):
    for _ in range(64):
        try:
            data = sock.recv(2048)
        except BlockingIOError:
            return
        at = (data[0] & 15) * 4 + 8
        if len(data) < at + 16: continue
        i, n = struct.unpack("!QQ", data[at:at + 16])
        if i >= len(pairs) or pairs[i][0] != name: continue
        sent = waiting[i].pop(n, None)
        if sent is None:
            if n >= since[i]: state["duplicates"] += 1
            continue
        answered[i] += 1
        if n >= since[i]:
            state["received"] += 1
            state["longest"] = max(state["longest"], time.monotonic() - sent)
def result():
    lost = sorted((sent, i) for i in range(len(pairs)) for n, sent in waiting[i].items() if n >= since[i])
    say({"sent": state["sent"], "received": state["received"], "duplicates": state["duplicates"], "longestMs": round(1000 * state["longest"]),
         "lost": [{"pair": i, "atMs": round(1000 * (sent - state["began"]))} for sent, i in lost[:1000]]})
    sys.exit(0)
say({"ready": len(pairs)})
while True:
    now = time.monotonic()
    if state["stop"] is None:
        while due and due[0][0] <= now:
            at, i = heapq.heappop(due)
            send(i, now)
            step = pairs[i][2] / 1000
            heapq.heappush(due, (at + step if at + step > now else now + step, i))
        wait = due[0][0] - now
    else:
        if now - state["stop"] > 5 or not any(n >= since[i] for i in range(len(pairs)) for n in waiting[i]): result()
        wait = 0.02
    for key, _ in selector.select(max(0, wait)):
        if key.data is not None:
            receive(key.fileobj, key.data)
            continue
        for line in lines():
            if line == b"answered": say({"answered": sum(1 for n in answered if n > 1)})
            if line == b"begin":
                since, state["began"] = list(count), time.monotonic()
                state.update(sent=0, received=0, duplicates=0, longest=0.0)
                say({"began": True})
            if line == b"stop": state["stop"] = time.monotonic()
`;

export class Pings {
  readonly pairs: readonly PingPair[];
  /** When counting began, by performance.now(). */
  beganAt = 0;
  private readonly running: Running;

  private constructor(running: Running, pairs: readonly PingPair[]) {
    this.running = running;
    this.pairs = pairs;
  }

  /** Pings all pairs, and begins to count when each has been answered. @throws CommandError when one is not within 30 s */
  static async start(lab: Lab, pairs: readonly PingPair[]): Promise<Pings> {
    const program = `${lab.dir}/pings.py`;
    await writeFile(program, PINGS_PY);
    const running = lab.track(new Running(["python3", program], { keepLines: 1000 }));
    const say = (line: string): void => void running.child.stdin?.write(`${line}\n`);
    say(JSON.stringify(pairs.map(({ from, to, intervalMs }) => [from.netns, to, intervalMs])));
    await running.waitFor(/"ready"/, 30_000);
    const asking = setInterval(() => say("answered"), 100);
    try {
      await running.waitFor((line) => line === JSON.stringify({ answered: pairs.length }).replace(":", ": "), 30_000);
    } finally {
      clearInterval(asking);
    }
    say("begin");
    await running.waitFor(/"began"/);
    const pings = new Pings(running, pairs);
    pings.beganAt = performance.now();
    return pings;
  }

  /** Ends them; those under way are waited for. */
  async stop(): Promise<PingsResult> {
    this.running.child.stdin?.write("stop\n");
    return JSON.parse(await this.running.waitFor(/"sent"/, 30_000)) as PingsResult;
  }
}
