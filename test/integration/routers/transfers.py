"""Servers of FTP (RFC 959) and TFTP (RFC 1350), and the client's side of an FTP control connection line by line.

    transfers.py ftp | tftp PORT   serves the same 200,000 bytes as any file; says on stdout what it was asked
    transfers.py session IP        lines of stdin go to the FTP server at IP, its answers to stdout
"""
import os
import random
import socket
import sys
import threading

CONTENT = random.Random(959).randbytes(200_000)


def say(text):
    print(text, flush=True)


def ftp_session(control):
    own, (peer, _) = control.getsockname()[0], control.getpeername()
    passive, active = None, None
    lines = control.makefile("r", encoding="ascii", newline="\r\n")

    def answer(text):
        control.sendall((text + "\r\n").encode("ascii"))

    def data():
        if passive is not None:
            passive.settimeout(4)
            return passive.accept()[0]
        there = socket.socket()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        there.settimeout(4)
        there.bind((own, 20))
        there.connect(active)
        return there

    answer("220 ready")
    for line in lines:
        say(f"from {peer}: {line.strip()}")
        verb, _, argument = line.strip().partition(" ")
        verb = verb.upper()
        if verb == "USER":
            answer("331 anything")
        elif verb == "PASS":
            answer("230 welcome")
        elif verb == "PWD":
            answer('257 "/"')
        elif verb in ("TYPE", "CWD", "NOOP"):
            answer("200 fine")
        elif verb == "SIZE":
            answer(f"213 {len(CONTENT)}")
        elif verb == "PORT":
            numbers = [int(n) for n in argument.split(",")]
            passive, active = None, (".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5])
            answer("200 fine")
        elif verb in ("PASV", "EPSV"):
            passive = socket.create_server((own, 0))
            port = passive.getsockname()[1]
            if verb == "EPSV":
                answer(f"229 here (|||{port}|)")
            else:
                answer(f"227 here ({own.replace('.', ',')},{port // 256},{port % 256})")
        elif verb == "RETR":
            answer("150 it comes")
            try:
                with data() as there:
                    say(f"data {'from' if passive is None else 'to'} {own} {there.getsockname()[1]}: {there.getpeername()[0]}")
                    there.sendall(CONTENT)
                answer("226 that was it")
            except OSError as error:
                answer(f"425 {error}")
        elif verb == "QUIT":
            answer("221 bye")
            break
        else:
            answer("502 not here")
    control.close()


def ftp():
    server = socket.create_server(("", 21))
    say("listening")
    while True:
        threading.Thread(target=ftp_session, args=(server.accept()[0],), daemon=True).start()


def tftp_transfer(peer):
    """From a port of its own, as RFC 1350 section 4 has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("", 0))
        there.settimeout(1)
        for number in range(1, len(CONTENT) // 512 + 2):
            block = number.to_bytes(2, "big")
            for _ in range(4):
                there.sendto(b"\0\3" + block + CONTENT[(number - 1) * 512 : number * 512], peer)
                try:
                    while there.recv(600)[:4] != b"\0\4" + block:
                        pass
                    break
                except TimeoutError:
                    continue
            else:
                say(f"{peer[0]} is silent")
                return
        say(f"{peer[0]} has it")


def tftp(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", int(port)))
    say("listening")
    while True:
        request, peer = server.recvfrom(600)
        say(f"asked by {peer[0]}")
        if request[:2] == b"\0\1":
            threading.Thread(target=tftp_transfer, args=(peer,), daemon=True).start()


def session(ip):
    control = socket.create_connection((ip, 21), timeout=5)
    control.settimeout(None)

    def hear():
        for line in control.makefile("r", encoding="ascii", newline="\r\n"):
            say(line.strip())

    threading.Thread(target=hear, daemon=True).start()
    for line in sys.stdin:
        control.sendall((line.strip() + "\r\n").encode("ascii"))


def until_stdin_ends():
    """Servers do not outlive who started them."""
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


mode, *rest = sys.argv[1:]
if mode != "session":
    threading.Thread(target=until_stdin_ends, daemon=True).start()
{"ftp": ftp, "tftp": tftp, "session": session}[mode](*rest)
