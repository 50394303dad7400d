/**
 * Python for clients of a few lines: `broadcast(message)` sends a DHCP message as who has no address yet does, from 0.0.0.0 to all. A socket of UDP
 * takes an address of the interface instead, and needs one there to hear the answer.
 */
export const BROADCAST = `
import socket, struct
def broadcast(message, source="0.0.0.0"):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("eth0", 0))
    def header(check): return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(message), 1, 0, 64, 17, check, socket.inet_aton(source), b"\\xff"*4)
    total = sum(struct.unpack("!10H", header(0)))
    total = (total & 0xffff) + (total >> 16)
    udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0)
    s.send(b"\\xff"*6 + s.getsockname()[4] + b"\\x08\\x00" + header(~((total & 0xffff) + (total >> 16)) & 0xffff) + udp + message)
`;
