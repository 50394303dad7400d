// How much comes through between two guests, by iperf3 (Debian's).
import type { Guest } from "./guest.ts";

export interface Transfer {
  /** Who opens the connection, and to where; the other end listens there. */
  readonly from: Guest;
  readonly to: Guest;
  readonly ip: string;
  readonly protocol: "udp" | "tcp";
  /** What UDP offers a second. */
  readonly kbps: number;
  /** What counts, after `skip` seconds that do not. */
  readonly seconds: number;
  readonly skip?: number;
  /** From who listens to who opened the connection. */
  readonly reverse?: boolean;
  readonly port?: number;
  /** Of the network, with which frames of TCP are as long as they may be. */
  readonly mtu: number;
}

/** Bytes of a datagram, and what a frame has beside: limits count frames. Of TCP the options have 12 bytes. */
const DATAGRAM = 1300;
const UDP_HEADERS = 14 + 20 + 8;

/** Megabits a second of frames that came, worked out of what iperf3 counts in TCP or UDP. */
export async function transfer({ from, to, ip, protocol, kbps, seconds, skip = 2, reverse = false, port = 5201, mtu }: Transfer): Promise<number> {
  const server = to.spawn(["iperf3", "-s", "-1", "--forceflush", "-p", String(port)]);
  await server.waitFor(/listening/i);
  const udp = protocol === "udp" ? ["-u", "-b", `${kbps}K`, "-l", String(DATAGRAM)] : [];
  const { stdout } = await from.exec(["iperf3", "-J", "-c", ip, "-p", String(port), "-O", String(skip), "-t", String(seconds), ...udp, ...(reverse ? ["-R"] : [])], { timeoutMs: (seconds + 30) * 1000 });
  await server.stop("SIGINT");
  const { end } = JSON.parse(stdout) as { end: { sum_received?: { bits_per_second: number }; sum: { bits_per_second: number; lost_percent?: number } } };
  const mbit = (end.sum_received?.bits_per_second ?? end.sum.bits_per_second * (1 - (end.sum.lost_percent ?? 0) / 100)) / 1e6;
  return mbit * (protocol === "udp" ? (DATAGRAM + UDP_HEADERS) / DATAGRAM : (mtu + 14) / (mtu - 20 - 20 - 12));
}
