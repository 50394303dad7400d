// Path MTU discovery as a guest does it, by the kernel's own: what it sends, and what it has learned.
import type { Guest } from "../../lab/guest.ts";

/** Datagrams with DF set, of the size that the kernel takes for the path's MTU, until one is answered: the MTUs it went by, in order. */
export async function discovered(from: Guest, to: string, port: number): Promise<number[]> {
  const six = to.includes(":");
  const script = [
    "import socket,sys,time",
    `s=socket.socket(socket.${six ? "AF_INET6" : "AF_INET"},socket.SOCK_DGRAM)`,
    six ? "s.setsockopt(41,23,2)" : "s.setsockopt(0,10,2)", // IPV6_MTU_DISCOVER, IP_MTU_DISCOVER: DO
    "s.settimeout(1)", `s.connect((${JSON.stringify(to)},${port}))`, "seen=[]",
    "for i in range(8):",
    `  mtu=s.getsockopt(${six ? "41,24" : "0,14"})`, // IPV6_MTU, IP_MTU
    "  if mtu not in seen: seen.append(mtu)",
    "  try:", `    s.send(b'x'*(mtu-${six ? 48 : 28}))`, "    if len(s.recv(9999))>0: break",
    "  except (TimeoutError,socket.timeout,OSError): time.sleep(0.05)",
    "else: seen.append(0)",
    "print(*seen)",
  ].join("\n");
  return (await from.exec(["python3", "-c", script], { timeoutMs: 30_000 })).stdout.trim().split(" ").map(Number);
}

/** What was learned of paths is forgotten. */
export const forget = async (...guests: readonly Guest[]): Promise<void> => {
  for (const guest of guests) for (const family of ["-4", "-6"]) await guest.exec(["ip", family, "route", "flush", "cache"], { allowFailure: true });
};
