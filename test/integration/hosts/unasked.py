"""Answers that nobody here has asked for: what conntrack takes for part of no connection.

    unasked.py echo-reply | syn-ack OWN TO COUNT   answers to pings, or to SYNs that are said to have come to port 80
"""
import socket
import struct
import sys


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_reply(number):
    header = struct.pack("!BBHHH", 0, 0, 0, 4711, number)
    return header[:2] + struct.pack("!H", checksum(header)) + header[4:]


def syn_ack(number, own, to):
    segment = struct.pack("!HHIIBBHHH", 80, 40_000 + number, 1, 1, 5 << 4, 0x12, 65_535, 0, 0)
    pseudo = socket.inet_aton(own) + socket.inet_aton(to) + struct.pack("!HH", socket.IPPROTO_TCP, len(segment))
    return segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]


what, own, to, count = sys.argv[1:]
protocol = socket.IPPROTO_ICMP if what == "echo-reply" else socket.IPPROTO_TCP
with socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol) as raw:
    raw.bind((own, 0))
    for number in range(int(count)):
        raw.sendto(echo_reply(number) if what == "echo-reply" else syn_ack(number, own, to), (to, 0))
