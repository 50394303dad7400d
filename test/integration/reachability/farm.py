"""Many VMs of a host in one process: each is a tap device and just enough of a host on it (ARP, ping, UDP and TCP), since a namespace for each would cost
more than all the rest. Commands come as lines of JSON on stdin: "add" makes VMs, "talk" has each of them talk to its peer and to somebody outside, all at
once and from the same ports, "tell" says what each was answered and every token that came to it (of other VMs too, and whatever the address).
"""
import fcntl, json, os, re, select, socket, struct, subprocess, time

TOKEN = re.compile(rb"axion-probe-([0-9a-f]{8})")
ECHO, SOURCE, BROADCAST = 7, 40000, b"\xff" * 6
mac_bytes = lambda text: bytes.fromhex(text.replace(":", ""))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Vm:
    def __init__(self, name, device, mac, ip, gateway, peer, number):
        self.name, self.device, self.number = name, device, number
        self.mac, self.ip, self.gateway, self.peer = mac_bytes(mac), *(socket.inet_aton(a) for a in (ip, gateway, peer))
        self.all = self.ip[:3] + b"\xff"
        self.macs, self.heard, self.got, self.opened = {}, set(), {}, None
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.fd, 0x400454CA, struct.pack("16sH", device.encode(), 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI

    def write(self, to, kind, body):
        try:
            os.write(self.fd, to + self.mac + kind + body)
        except BlockingIOError:
            pass  # as on any wire; it is sent again

    def arp(self, operation, to, mac, ip):
        self.write(to, b"\x08\x06", struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, self.mac, self.ip, mac, ip))

    def send(self, to, mac, protocol, body):
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0, self.ip, to)
        self.write(mac, b"\x08\x00", head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body)

    def segment(self, to, mac, port, seq, ack, flags, data=b""):
        head = struct.pack("!HHIIBBHHH", port, ECHO, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 65535, 0, 0) + data
        summed = checksum(self.ip + to + struct.pack("!HH", 6, len(head)) + head)
        self.send(to, mac, 6, head[:16] + struct.pack("!H", summed) + head[18:])

    def udp(self, to, mac, source, port, data):
        self.send(to, mac, 17, struct.pack("!HHHH", source, port, 8 + len(data), 0) + data)

    def ping(self, to, mac, data):
        head = struct.pack("!BBHHH", 8, 0, 0, 77 + (self.number & 1), 1)  # userspace conntrack does not translate identifiers
        self.send(to, mac, 1, head[:2] + struct.pack("!H", checksum(head + data)) + head[4:] + data)

    def token(self, way, number):
        return b"axion-probe-%04x%x%03x" % (self.number, way, number)

    def ask(self, outside, number):
        """Sends (again) what has not been answered yet. False: all has been."""
        waiting = False
        for ip in (self.gateway, self.peer):
            if ip not in self.macs:
                self.arp(1, BROADCAST, b"\0" * 6, ip)
                waiting = True
        for way, (what, ip, mac) in enumerate((("out", outside, self.macs.get(self.gateway)), ("across", self.peer, self.macs.get(self.peer)))):
            if mac is None:
                continue
            if f"{what} udp" not in self.got:
                self.udp(ip, mac, SOURCE, ECHO, self.token(way * 4, number))
                waiting = True
            if f"{what} ping" not in self.got:
                self.ping(ip, mac, self.token(way * 4 + 1, number))
                waiting = True
        if "out tcp" not in self.got and self.gateway in self.macs:
            self.knock(outside, number)
            waiting = True
        if "across all" not in self.got and self.peer in self.macs:
            self.udp(self.all, BROADCAST, SOURCE - 1, ECHO, self.token(8, number))
            waiting = True
        return waiting

    def knock(self, outside, number):
        """The first segment, or what is asked once that was answered."""
        if self.opened is None:
            self.segment(outside, self.macs[self.gateway], SOURCE + number, 1000, 0, 2)
        else:
            self.segment(outside, self.macs[self.gateway], SOURCE + number, 1001, self.opened, 0x18, self.token(2, number))

    def receive(self, frame, outside, number):
        self.heard.update(t.decode() for t in TOKEN.findall(frame))
        kind, body = frame[12:14], frame[14:]
        if kind == b"\x08\x06":
            operation, mac, ip, target = struct.unpack("!6xH6s4s6x4s", body[:28])
            if operation == 1 and target == self.ip:
                self.arp(2, mac, mac, ip)
            elif operation == 2:
                self.macs[ip] = mac
            return
        if kind != b"\x08\x00" or body[16:20] not in (self.ip, self.all):
            return
        length, protocol, source = struct.unpack("!2xH5xB2x4s", body[:16])
        rest = body[(body[0] & 15) * 4:length]
        what = {outside: "out", self.peer: "across"}.get(source, "?")
        if protocol == 1 and rest[0] == 8:
            head = b"\0\0\0\0" + rest[4:]
            self.send(source, frame[6:12], 1, head[:2] + struct.pack("!H", checksum(head)) + head[4:])
        elif protocol == 1 and rest[0] == 0:
            self.answered(f"{what} ping", rest[8:].decode())
        elif protocol == 17:
            sender, port = struct.unpack("!HH", rest[:4])
            if port == ECHO:
                self.udp(source, frame[6:12], ECHO, sender, f"{self.name} {socket.inet_ntoa(source)} ".encode() + rest[8:])
            elif port in (SOURCE, SOURCE - 1):
                self.answered(f"{what} {'udp' if port == SOURCE else 'all'}", rest[8:].decode())
        elif protocol == 6 and what == "out":
            self.segmented(source, frame[6:12], rest, number)

    def segmented(self, source, mac, rest, number):
        _, port, seq, ack, offset, flags = struct.unpack("!HHIIBB", rest[:14])
        data = rest[(offset >> 4) * 4:]
        if port != SOURCE + number:
            return
        if flags & 0x12 == 0x12:
            self.opened = seq + 1
            self.knock(source, number)
        elif data:
            self.answered("out tcp", data.decode().strip())
            self.segment(source, mac, port, ack, seq + len(data), 0x14)  # RST: nothing of it stays

    def answered(self, what, said):
        self.got.setdefault(what, said)


class Farm:
    def __init__(self):
        self.vms, self.poll, self.rest = {}, select.epoll(), b""
        self.poll.register(0, select.EPOLLIN)
        self.outside, self.number, self.waiting = b"", 0, None  # of the round: id of its command, when it began, until when, when to send again

    def add(self, vms):
        for values in vms:
            vm = Vm(**values)
            self.vms[vm.fd] = vm
            self.poll.register(vm.fd, select.EPOLLIN)
        lines = "".join(f"link set {v['device']} addrgenmode none\nlink set {v['device']} mtu 1400 up\n" for v in vms)
        subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)

    def talk(self, command, outside, number, wait):
        """Answered when every VM has all its answers, or after `wait` seconds."""
        self.outside, self.number = socket.inet_aton(outside), number
        for vm in self.vms.values():
            vm.got, vm.opened = {}, None
        now = time.monotonic()
        self.waiting = [command, now, now + wait, now]

    def obey(self, line):
        command = json.loads(line)
        number, what = command.pop("id"), command.pop("do")
        if what == "add":
            self.add(**command)
            say({"id": number})
        elif what == "talk":
            self.talk(number, **command)
        else:
            say({"id": number, "vms": {vm.name: {"got": vm.got, "heard": sorted(vm.heard)} for vm in self.vms.values()}})
            for vm in self.vms.values():
                vm.heard.clear()

    def ask_again(self):
        command, began, end, again = self.waiting
        now = time.monotonic()
        if now < again:
            return
        waiting = [vm for vm in self.vms.values() if vm.ask(self.outside, self.number)]
        self.waiting[3] = time.monotonic() + 0.5
        if not waiting or now >= end:
            say({"id": command, "ms": round((now - began) * 1000), "unanswered": len(waiting)})
            self.waiting = None

    def run(self):
        say({"ready": "farm"})
        while True:
            for fd, _ in self.poll.poll(0.02 if self.waiting else 1):
                if fd == 0:
                    data = os.read(0, 1 << 20)
                    if data == b"":
                        return
                    *lines, self.rest = (self.rest + data).split(b"\n")
                    for line in lines:
                        self.obey(line)
                    continue
                for _ in range(16):
                    try:
                        self.vms[fd].receive(os.read(fd, 65535), self.outside, self.number)
                    except BlockingIOError:
                        break
            if self.waiting:
                self.ask_again()


def say(value):
    print(json.dumps(value), flush=True)


Farm().run()
