// What a machine that asks little waits for: DHCP, names, metadata, router advertisements, and an echo of another machine, each asked in turn at a low rate.
import type { Guest } from "../guest.ts";

export const probed = ["dhcp", "dns", "metadata", "rs", "ping"] as const;
export type Probed = (typeof probed)[number];

/** Milliseconds of each answer in the order that they came; null: none within five seconds. */
export type Waits = Readonly<Record<Probed, readonly (number | null)[]>>;

const PROBE = `
import json, os, socket, struct, sys, time
mac, peer, times, pause = bytes.fromhex(sys.argv[1].replace(":", "")), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
LIMIT = 5.0
def total(data):
    data += b"\\0" * (len(data) % 2)
    n = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while n >> 16: n = (n & 0xffff) + (n >> 16)
    return ~n & 0xffff
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
raw.bind(("eth0", 0))
def heard(fits):
    end = time.monotonic() + LIMIT
    while True:
        left = end - time.monotonic()
        if left <= 0: raise TimeoutError()
        raw.settimeout(left)
        data, where = raw.recvfrom(4096)
        if where[2] != socket.PACKET_OUTGOING and fits(data): return
def dhcp(n):
    xid = os.urandom(4)
    m = struct.pack("!BBBB4sHH4s4s4s4s16s64s128s", 1, 1, 6, 0, xid, 0, 0, *[b"\\0"*4]*4, mac, b"", b"") + bytes([99,130,83,99,53,1,1,255])
    head = lambda check: struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(m), 1, 0, 64, 17, check, b"\\0"*4, b"\\xff"*4)
    raw.send(b"\\xff"*6 + mac + b"\\x08\\x00" + head(total(head(0))) + struct.pack("!HHHH", 68, 67, 8 + len(m), 0) + m)
    heard(lambda d: d[12:14] == b"\\x08\\x00" and d[23] == 17 and d[34:38] == b"\\0\\x43\\0\\x44" and d[46:50] == xid)
def dns(n):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(LIMIT); s.connect(("169.254.169.253", 53))
    q = struct.pack("!HHHHHH", n & 0xffff, 0x100, 1, 0, 0, 0) + b"\\6nobody\\5axion\\10internal\\0\\0\\1\\0\\1"
    s.send(q)
    while s.recv(2048)[:2] != q[:2]: pass
    s.close()
def metadata(n):
    s = socket.create_connection(("169.254.169.254", 80), LIMIT)
    s.sendall(b"GET /latest/meta-data/instance-id HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
    got = b""
    while True:
        more = s.recv(4096)
        if not more: break
        got += more
    s.close()
    assert b" 200 " in got.split(b"\\r\\n", 1)[0] + b" ", got[:100]
local = socket.inet_pton(socket.AF_INET6, "fe80::%02x%02x:%02xff:fe%02x:%02x%02x" % (mac[0] ^ 2, *mac[1:]))
def rs(n):
    group = socket.inet_pton(socket.AF_INET6, "ff02::2")
    body = lambda check: struct.pack("!BBHI", 133, 0, check, 0) + b"\\1\\1" + mac
    check = total(local + group + struct.pack("!II", len(body(0)), 58) + body(0))
    raw.send(b"\\x33\\x33\\0\\0\\0\\2" + mac + b"\\x86\\xdd" + struct.pack("!IHBB", 6 << 28, 16, 58, 255) + local + group + body(check))
    heard(lambda d: d[12:14] == b"\\x86\\xdd" and d[20] == 58 and d[54] == 134 and d[:6] == mac)
ident = os.getpid() & 0xffff
echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); echo.settimeout(LIMIT)
def ping(n):
    make = lambda check: struct.pack("!BBHHH", 8, 0, check, ident, n & 0xffff) + b"x" * 48
    echo.sendto(make(total(make(0))), (peer, 0))
    while True:
        d = echo.recv(2048)
        if d[20] == 0 and d[24:28] == struct.pack("!HH", ident, n & 0xffff): return
waits = {}
for n in range(times):
    for ask in (dhcp, dns, metadata, rs, ping):
        while True:
            # What is left from before is not the answer.
            raw.setblocking(False)
            try: raw.recv(4096)
            except BlockingIOError: break
        raw.setblocking(True)
        began = time.monotonic()
        try:
            ask(n)
            took = (time.monotonic() - began) * 1000
        except (TimeoutError, socket.timeout, OSError): took = None
        waits.setdefault(ask.__name__, []).append(took)
        time.sleep(pause)
json.dump(waits, sys.stdout)
`;

/** Asks for each thing so many times, with so long between two questions. `peer`: the IPv4 address of a machine that answers pings. */
export async function probe(guest: Guest, mac: string, peer: string, times: number, pauseMs: number): Promise<Waits> {
  const { stdout } = await guest.exec(["python3", "-c", PROBE, mac, peer, String(times), String(pauseMs / 1000)], { timeoutMs: times * probed.length * (pauseMs + 5500) + 30_000 });
  return JSON.parse(stdout) as Waits;
}
