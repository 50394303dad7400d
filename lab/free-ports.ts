// TCP ports on loopback that nobody listens on now, nor is given by the kernel to whoever wants any: a controller that is started again finds its own free.
import { readFile } from "node:fs/promises";
import net from "node:net";

const LOWEST = 10_000;
const TRIES = 1000;

export async function freePorts(count: number): Promise<number[]> {
  const range = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8").catch(() => "");
  const end = Math.max(Number.parseInt(range, 10) || 32_768, LOWEST + 1000);
  const held = new Map<number, net.Server>();
  try {
    for (let tries = 0; held.size < count; tries++) {
      if (tries >= TRIES) throw new Error(`no ${count} free ports from ${LOWEST} to ${end - 1}`);
      const server = await listening(LOWEST + Math.floor(Math.random() * (end - LOWEST)));
      if (server !== undefined) held.set((server.address() as net.AddressInfo).port, server);
    }
    return [...held.keys()];
  } finally {
    await Promise.all(Array.from(held.values(), (server) => new Promise((done) => server.close(done))));
  }
}

/** undefined: somebody has the port. */
function listening(port: number): Promise<net.Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" || error.code === "EACCES" ? resolve(undefined) : reject(error)));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
