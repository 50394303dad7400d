"""A download that goes on until somebody ends it, over one TCP connection.

    downloads.py serve PORT        1,000 bytes every 10 ms to whoever connects, numbered
    downloads.py fetch IP PORT     reads them; at SIGINT says on stdout {"chunks", "longestMs", "error"}: how many came, in order, the longest
                                   time without any, and null or why it ended before
"""
import json
import signal
import socket
import struct
import sys
import threading
import time

SIZE = 1000
EVERY_S = 0.01


def feed(there):
    number, due = 0, time.monotonic()
    try:
        while True:
            there.sendall(struct.pack("!Q", number).ljust(SIZE, b"."))
            number, due = number + 1, due + EVERY_S
            time.sleep(max(0, due - time.monotonic()))
    except OSError:
        there.close()


def serve(port):
    server = socket.create_server(("0.0.0.0", port))
    print("listening", flush=True)
    while True:
        there, _ = server.accept()
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=feed, args=(there,), daemon=True).start()


class Ended(Exception):
    pass


def end(*_):
    raise Ended


def fetch(ip, port):
    there = socket.create_connection((ip, port), timeout=5)
    there.settimeout(None)
    print("connected", flush=True)
    chunks, longest, last, error = 0, 0.0, time.monotonic(), None
    try:
        while True:
            chunk = there.recv(SIZE, socket.MSG_WAITALL)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
            if len(chunk) < SIZE:
                error = "closed"
                break
            if struct.unpack("!Q", chunk[:8])[0] != chunks:
                error = "out of order"
                break
            chunks += 1
        while True:
            time.sleep(1)
    except Ended:
        if error is None:
            longest = max(longest, time.monotonic() - last)
    except OSError as fault:
        error = str(fault)
        try:
            while True:
                time.sleep(1)
        except Ended:
            pass
    print(json.dumps({"chunks": chunks, "longestMs": round(longest * 1000), "error": error}), flush=True)


signal.signal(signal.SIGINT, end)
if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    fetch(sys.argv[2], int(sys.argv[3]))
