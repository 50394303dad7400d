"""What a guest of the reachability suite does: agent.py NAME PORTS (of its servers, by commas).

One process for all checks of a guest, since a process for each would take longer than the check. Commands come as lines of JSON on stdin, each is
done in a thread of its own, and what came of it is a line of JSON with the command's id. Servers (TCP and UDP) answer with the guest's name and
with the address they see, so that who asks knows whom it reached and as whom. All that arrives on eth0 is searched for tokens of checks.
"""
import json, os, random, re, select, socket, struct, subprocess, sys, threading, time

NAME, PORTS = sys.argv[1], [int(p) for p in sys.argv[2].split(",")]
DEVICE = "eth0"
heard, lock = set(), threading.Lock()


def say(value):
    with lock:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()


def sniff(s):
    token = re.compile(rb"axion-probe-([0-9a-f]{8})")
    while True:
        data, address = s.recvfrom(65535)
        if address[2] != socket.PACKET_OUTGOING:
            heard.update(m.decode() for m in token.findall(data))


def plain(address):
    return address.replace("::ffff:", "") if address.startswith("::ffff:") else address.split("%")[0]


def serve_udp(s):
    while True:
        data, peer = s.recvfrom(65535)
        try:
            # A token in the answer as well: whoever hears it that did not ask is told of.
            s.sendto(f"{NAME} {plain(peer[0])} {data[:20].decode()}".encode(), peer)
        except OSError:
            pass


def serve_tcp(s):
    while True:
        client, peer = s.accept()
        threading.Thread(target=answer, args=(client, peer), daemon=True).start()


def answer(client, peer):
    try:
        client.settimeout(5)
        token = client.recv(100)[:20].decode()
        client.sendall(f"{NAME} {plain(peer[0])} {token}\n".encode())
        client.recv(1)
    except OSError:
        pass
    client.close()


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(to, token, wait, interval, ttl=None):
    """Pings until something is said: who answered, or who said that it did not get there, and after how many."""
    six = ":" in to
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    if ttl is not None:
        s.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)), ttl)
    ident, sent, began = random.randrange(1, 65536), 0, time.monotonic()
    try:
        while True:
            now = time.monotonic() - began
            if now >= wait:
                return {"sent": sent}
            if now >= sent * interval:
                sent += 1
                head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, ident, sent)
                if not six:
                    head = struct.pack("!BBHHH", 8, 0, checksum(head + token), ident, sent)
                try:
                    s.sendto(head + token, (to, 0))
                except OSError:
                    pass
            if not select.select([s], [], [], max(0.0, min(wait, sent * interval) - (time.monotonic() - began)))[0]:
                continue
            data, peer = s.recvfrom(65535)
            data = data if six else data[(data[0] & 15) * 4:]
            inner = data[8:]
            if data[0] == (129 if six else 0) and data[4:6] == struct.pack("!H", ident) and token in data:
                return {"answered": plain(peer[0]), "sent": sent, "seq": struct.unpack("!H", data[6:8])[0]}
            if data[0] in ((1, 3) if six else (3, 11)) and len(inner) > 28:
                inner = inner[40:] if six else inner[(inner[0] & 15) * 4:]
                if inner[4:6] == struct.pack("!H", ident):
                    return {"refused" if data[0] == (1 if six else 3) else "hop": plain(peer[0]), "sent": sent}
    finally:
        s.close()


def ping(to, token, wait, interval):
    return echo(to, token, wait, interval)


def tcp(to, token, wait, port, interval):
    s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(wait)
    try:
        s.connect((to, port))
        s.sendall(token)
        name, seen, said = s.recv(200).decode().split()
        return {"answered": name, "as": seen, "token": said == token.decode()}
    except (OSError, ValueError) as error:
        return {"error": str(error)}
    finally:
        s.close()


def udp(to, token, wait, port, interval):
    s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(interval)
    end, sent = time.monotonic() + wait, 0
    try:
        s.connect((to, port))
    except OSError as error:
        return {"error": str(error)}
    while time.monotonic() < end:
        try:
            sent += 1
            s.send(token)
            name, seen, said = s.recv(200).decode().split()
            s.close()
            return {"answered": name, "as": seen, "sent": sent, "token": said == token.decode()}
        except TimeoutError:
            pass
        except OSError:
            time.sleep(interval)
    s.close()
    return {"sent": sent}


def trace(to, token, wait, interval):
    hops = []
    for ttl in range(1, 9):
        got = echo(to, token, wait, interval, ttl)
        hops.append(got.get("hop") or got.get("answered") or "*")
        if "hop" not in got:
            break
    return {"hops": hops}


def mtu(to, token, wait, port, interval):
    """MTUs of the path as the kernel learns them: datagrams that may not be fragmented, as long as it takes them, until one is answered."""
    six, end, seen = ":" in to, time.monotonic() + wait, []
    subprocess.run(["ip", "-6" if six else "-4", "route", "flush", "cache"], capture_output=True)
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(*((41, 23) if six else (0, 10)), 2)  # IPV6_MTU_DISCOVER, IP_MTU_DISCOVER: DO
    s.settimeout(interval)
    s.connect((to, port))
    while time.monotonic() < end:
        size = s.getsockopt(*((41, 24) if six else (0, 14)))  # IPV6_MTU, IP_MTU
        if size not in seen:
            seen.append(size)
        try:
            s.send(token.ljust(size - (48 if six else 28), b"."))
            s.recv(200)
            return {"mtus": seen}
        except OSError:
            time.sleep(0.05)
    return {"mtus": [*seen, 0]}


def neighbour(to, token, wait, interval):
    family = "-6" if ":" in to else "-4"
    subprocess.run(["ip", family, "neigh", "flush", "to", to, "dev", DEVICE], capture_output=True)
    echo(to, token, wait, interval)
    shown = subprocess.run(["ip", family, "neigh", "show", "to", to, "dev", DEVICE], capture_output=True, text=True).stdout
    found = re.search(r"lladdr (\S+)", shown)
    return {"mac": found.group(1) if found else ""}


def told():
    tokens = sorted(heard)
    heard.clear()
    return {"tokens": tokens}


COMMANDS = {"ping": ping, "tcp": tcp, "udp": udp, "trace": trace, "mtu": mtu, "neighbour": neighbour, "heard": told}


def run(number, name, arguments):
    try:
        if "token" in arguments:
            arguments["token"] = f"axion-probe-{arguments['token']}".encode()
        say({"id": number, **COMMANDS[name](**arguments)})
    except Exception as error:
        say({"id": number, "error": f"{type(error).__name__}: {error}"})


wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((DEVICE, 0))
threading.Thread(target=sniff, args=(wire,), daemon=True).start()
for port in PORTS:
    for kind, serve in ((socket.SOCK_STREAM, serve_tcp), (socket.SOCK_DGRAM, serve_udp)):
        server = socket.socket(socket.AF_INET6, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            server.listen(1024)
        threading.Thread(target=serve, args=(server,), daemon=True).start()
say({"ready": NAME})
for line in sys.stdin:
    command = json.loads(line)
    threading.Thread(target=run, args=(command.pop("id"), command.pop("do"), command), daemon=True).start()
os._exit(0)
