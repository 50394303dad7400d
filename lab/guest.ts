// What tests do inside a network namespace, be it a VM or a host on a physical network: addresses, DHCP, ping, ARP, captures, TCP and
// UDP. What a VM is plugged into is in vm.ts.

import { readFile, rm } from "node:fs/promises";
import type { Running } from "./exec.ts";
import { NetNs } from "./netns.ts";

export interface PingStats {
  sent: number;
  received: number;
  /** 0 = none lost, 1 = all. */
  lossFraction: number;
  rttMs: number[];
}

export interface PingRunStats extends PingStats {
  /** Runs of requests without an answer; `ms` is how long the outage was as the pinging host saw it. */
  gaps: { firstSeq: number; count: number; ms: number }[];
  longestGapMs: number;
  duplicates: number;
}

export interface DhcpLease {
  ip: string;
  prefixLength: number;
  routers: string[];
  /** Option 121, in order. */
  routes: { to: string; via: string }[];
  dns: string[];
  domain?: string;
  hostname?: string;
  mtu?: number;
  leaseS: number;
  server?: string;
  /** All the client was told, by the client's own names. */
  raw: Record<string, string>;
}

export interface Capture {
  /** Summary lines so far (`tcpdump -n -e`). */
  readonly lines: string[];
  stop(): Promise<{ count: number; lines: string[] }>;
}

export interface Transfer {
  bytes: number;
  sha256: string;
  ms: number;
}

/** An open TCP connection to an echo port. */
export interface Connection {
  /** Sends a line and waits for its return. False: it did not come back in time, or the connection is gone. */
  echo(text: string, timeoutMs?: number): Promise<boolean>;
  close(): Promise<void>;
}

export class Guest extends NetNs {
  /** The interface that methods use unless told otherwise. */
  readonly device = "eth0";
  #leases = 0;

  /** Kernel settings every guest wants: accept router advertisements, be an ordinary host. */
  protected async settle(): Promise<void> {
    await this.sysctl(
      "net.ipv6.conf.all.accept_ra=1",
      "net.ipv6.conf.default.accept_ra=1",
      "net.ipv6.conf.default.router_solicitation_delay=0",
      "net.ipv4.ip_forward=0",
    );
  }

  /** Sets addresses with prefix length ("10.0.0.5/24"), and optionally a default gateway of the first one's family. */
  async setAddress(addresses: string | readonly string[], gateway?: string, device = this.device): Promise<void> {
    const list = typeof addresses === "string" ? [addresses] : addresses;
    await this.configure(
      `link set ${device} up`,
      ...list.map((address) => `addr replace ${address} dev ${device}${address.includes(":") ? " nodad" : ""}`),
      ...(gateway === undefined ? [] : [`route replace default via ${gateway} dev ${device}`]),
    );
  }

  /** Addresses with prefix length, link-local and tentative ones left out unless asked for. */
  async addresses(options: { device?: string; all?: boolean } = {}): Promise<string[]> {
    const { stdout } = await this.exec(["ip", "-j", "addr", "show", "dev", options.device ?? this.device]);
    const links = JSON.parse(stdout) as { addr_info?: { local: string; prefixlen: number; scope: string; tentative?: boolean }[] }[];
    return links
      .flatMap((link) => link.addr_info ?? [])
      .filter((address) => options.all === true || (address.scope !== "link" && address.tentative !== true))
      .map((address) => `${address.local}/${address.prefixlen}`);
  }

  /** A lease by busybox's udhcpc, which configures the interface. @throws CommandError when none is offered in time. */
  async dhcp(options: { device?: string; hostname?: string; requestIp?: string; timeoutMs?: number } = {}): Promise<DhcpLease> {
    const { device = this.device, hostname, requestIp, timeoutMs = 10_000 } = options;
    const lease = this.#leaseFile();
    await this.exec(
      [
        "udhcpc", "-f", "-q", "-n", "-i", device, "-s", `${this.owner.dir}/udhcpc.sh`,
        "-t", String(Math.max(1, Math.floor(timeoutMs / 1000))), "-T", "1",
        ...["subnet", "router", "dns", "domain", "hostname", "mtu", "lease", "serverid", "staticroutes", "search", "ntpsrv"].flatMap((name) => ["-O", name]),
        ...(hostname === undefined ? [] : ["-x", `hostname:${hostname}`]),
        ...(requestIp === undefined ? [] : ["-r", requestIp]),
      ],
      { env: { AXION_LEASE: lease }, timeoutMs: timeoutMs + 3000 },
    );
    const raw = await readEnv(`${lease}.bound`);
    const words = (name: string) => (raw[name] ?? "").split(" ").filter(Boolean);
    const routes = words("staticroutes");
    return {
      ip: raw.ip ?? "",
      prefixLength: Number(raw.mask),
      routers: words("router"),
      routes: routes.flatMap((to, at) => (at % 2 === 0 ? [{ to, via: routes[at + 1] ?? "" }] : [])),
      dns: words("dns"),
      leaseS: Number(raw.lease),
      ...(raw.domain !== undefined && { domain: raw.domain }),
      ...(raw.hostname !== undefined && { hostname: raw.hostname }),
      ...(raw.mtu !== undefined && { mtu: Number(raw.mtu) }),
      ...(raw.serverid !== undefined && { server: raw.serverid }),
      raw,
    };
  }

  /**
   * A lease by ISC dhclient (DHCPv4, or with `family: 6` DHCPv6); what the client was told, by its own names. `informed`: what comes beside addresses
   * alone. `again`: as after a restart, with the lease that it had last. `said` is what the client wrote of messages.
   */
  async dhclient(options: { device?: string; family?: 4 | 6; informed?: boolean; again?: boolean; timeoutMs?: number } = {}): Promise<Record<string, string> & { said: string }> {
    const { device = this.device, family = 4, informed = false, again = false, timeoutMs = 15_000 } = options;
    const lease = again ? this.#lastLease : this.#leaseFile();
    const { stderr } = await this.exec(
      ["dhclient", `-${family}`, ...(informed ? ["-S"] : []), "-1", "-v", ...this.#dhclientFiles(lease), device],
      { timeoutMs },
    );
    // It stays in the background to renew. Ending it keeps the address.
    const pid = Number(await readFile(`${lease}.pid`, "utf8").catch(() => ""));
    if (pid > 0) {
      process.kill(pid, "SIGKILL");
      await rm(`${lease}.pid`, { force: true });
    }
    const raw = await readEnv(`${lease}.${family === 6 ? (informed ? "RENEW6" : "BOUND6") : again ? "REBOOT" : "BOUND"}`);
    return { ...Object.fromEntries(Object.entries(raw).flatMap(([key, value]) => (key.startsWith("new_") ? [[key.slice(4), value]] : []))), said: stderr };
  }

  /** Gives back the lease that `dhclient` got last; what the client wrote of messages. */
  async dhclientRelease(family: 4 | 6 = 4): Promise<string> {
    return (await this.exec(["dhclient", `-${family}`, "-r", "-v", ...this.#dhclientFiles(this.#lastLease), this.device], { timeoutMs: 15_000 })).stderr;
  }

  #dhclientFiles(lease: string): string[] {
    return ["-sf", `${this.owner.dir}/dhclient.sh`, "-cf", `${this.owner.dir}/dhclient.conf`, "-lf", `${lease}.leases`, "-pf", `${lease}.pid`, "-e", `AXION_LEASE=${lease}`];
  }

  /** Never throws for lost packets: a network that cannot be reached is `received: 0`. */
  async ping(
    ip: string,
    options: { count?: number; intervalMs?: number; timeoutMs?: number; sizeBytes?: number; dontFragment?: boolean; device?: string } = {},
  ): Promise<PingStats> {
    const { count = 3, intervalMs = 100, timeoutMs = 1000, sizeBytes, dontFragment = false, device } = options;
    const { stdout } = await this.exec(
      [
        "ping", "-n", "-c", String(count), "-i", String(intervalMs / 1000), "-W", String(timeoutMs / 1000),
        ...(sizeBytes === undefined ? [] : ["-s", String(sizeBytes)]),
        ...(dontFragment ? ["-M", "do"] : []),
        ...(device === undefined ? [] : ["-I", device]),
        ip,
      ],
      { allowFailure: true, timeoutMs: count * intervalMs + timeoutMs + 10_000 },
    );
    const { received, rttMs } = answers(stdout.split("\n"));
    return { sent: count, received, lossFraction: 1 - received / count, rttMs };
  }

  /** Whether a ping is answered in time; true at the first answer. */
  async reaches(ip: string, options: { timeoutMs?: number } = {}): Promise<boolean> {
    const { timeoutMs = 1000 } = options;
    const { stdout } = await this.exec(
      ["timeout", "-s", "INT", String(timeoutMs / 1000), "ping", "-n", "-c", "1", "-i", "0.1", "-w", String(Math.ceil(timeoutMs / 1000) + 1), ip],
      { allowFailure: true, timeoutMs: timeoutMs + 10_000 },
    );
    return answers(stdout.split("\n")).received > 0;
  }

  /** Pings until stopped. */
  pingStart(ip: string, options: { intervalMs?: number } = {}): { stop(): Promise<PingRunStats>; readonly received: number } {
    const { intervalMs = 10 } = options;
    const running = this.spawn(["ping", "-n", "-D", "-i", String(intervalMs / 1000), ip]);
    return {
      get received() {
        return answers(running.lines).received;
      },
      stop: async () => {
        await running.stop("SIGINT");
        return pingRun(running.lines, intervalMs);
      },
    };
  }

  /** The MAC addresses that answer for an IPv4 address, one a reply; empty: none does. */
  async arping(ip: string, options: { count?: number; device?: string } = {}): Promise<string[]> {
    const count = options.count ?? 1;
    const { stdout, stderr, exitCode } = await this.exec(
      ["arping", "-I", options.device ?? this.device, "-c", String(count), "-w", String(count), ip],
      { allowFailure: true },
    );
    if (exitCode > 1) throw new Error(`arping: ${stderr.trim()}`); // 1 is: nobody answered
    return [...stdout.matchAll(/reply from \S+ \[([0-9A-Fa-f:]+)\]/g)].map((match) => match[1]!.toLowerCase());
  }

  /** Captures on an interface; resolves when capturing has begun. The filter is tcpdump's. */
  async tcpdump(filter = "", options: { device?: string; verbose?: boolean } = {}): Promise<Capture> {
    const lines: string[] = [];
    const running = this.spawn(
      [
        "tcpdump", "-l", "-n", "-e", "-tt", "--immediate-mode", ...(options.verbose === true ? ["-vv"] : []),
        "-i", options.device ?? this.device, ...filter.split(/\s+/).filter(Boolean),
      ],
      { onLine: (line) => {
          if (/^\d+\.\d+ |^\s/.test(line)) lines.push(line);
        } },
    );
    await running.waitFor(/listening on/);
    return {
      lines,
      stop: async () => {
        await running.stop("SIGINT");
        return { count: lines.filter((line) => !/^\s/.test(line)).length, lines };
      },
    };
  }

  /** Echoes TCP and UDP on a port, over IPv4 and IPv6, until closed. */
  async listen(port: number): Promise<{ close(): Promise<void> }> {
    const running = this.#node("echo", port);
    await running.waitFor(/listening/);
    return { close: () => closed(running) };
  }

  listenTcp(port: number): Promise<{ close(): Promise<void> }> {
    return this.listen(port);
  }

  /** Whether a TCP connection opens in time. Refused and unanswered are both false. */
  async connectTcp(ip: string, port: number, timeoutMs = 1000): Promise<boolean> {
    const { exitCode } = await this.exec(
      ["timeout", "-s", "KILL", String(timeoutMs / 1000), "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', ip, String(port)],
      { allowFailure: true, timeoutMs: timeoutMs + 5000 },
    ).catch(() => ({ exitCode: -1 })); // timeout -s KILL may end by that signal itself
    return exitCode === 0;
  }

  /** Whether a datagram of so many bytes to an echo port (see `listen`) comes back in time. */
  async probeUdp(ip: string, port: number, timeoutMs = 1000, bytes = 5): Promise<boolean> {
    const running = this.#node("udp", ip, port, timeoutMs, bytes);
    const line = await running.waitFor(/answered/, timeoutMs + 10_000);
    return (JSON.parse(line) as { answered: boolean }).answered;
  }

  /** Opens a TCP connection to an echo port (see `listen`) and keeps it. @throws CommandError when it does not open. */
  async openTcp(ip: string, port: number, timeoutMs = 3000): Promise<Connection> {
    const running = this.#node("hold", ip, port);
    await running.waitFor(/connected/, timeoutMs).catch(async (error: unknown) => {
      await running.stop("SIGKILL");
      throw error;
    });
    let number = 0;
    return {
      echo: async (text, echoTimeoutMs = 1000) => {
        const token = `${text}#${number++}`;
        running.child.stdin?.write(token + "\n");
        return running.waitFor((line) => line === JSON.stringify({ echo: token }), echoTimeoutMs).then(
          () => true,
          () => false,
        );
      },
      close: () => closed(running),
    };
  }

  /** Receives one connection's bytes. Resolves when it listens; `result` when the sender has finished. */
  async receive(port: number): Promise<{ result: Promise<Transfer> }> {
    const running = this.#node("receive", port);
    await running.waitFor(/listening/);
    return { result: transferOf(running) };
  }

  /** Streams pseudo-random bytes to a `receive` port. */
  send(ip: string, port: number, bytes: number, timeoutMs = 120_000): Promise<Transfer> {
    return transferOf(this.#node("send", ip, port, bytes), timeoutMs);
  }

  /** Counts the bytes of one `pump`. Resolves when it listens; `result` when that has ended. */
  async sink(port: number): Promise<{ result: Promise<{ readonly bytes: number; readonly ms: number }> }> {
    const running = this.#node("sink", port);
    await running.waitFor(/listening/);
    return { result: running.waitFor(/"ms"/, 120_000).then((line) => JSON.parse(line) as { bytes: number; ms: number }) };
  }

  /** Sends to a `sink` for so long, as fast as the path takes it. */
  async pump(ip: string, port: number, ms: number): Promise<void> {
    await this.#node("pump", ip, port, ms).waitFor(/pumped/, ms + 30_000);
  }

  /** Opens TCP connections to an echo port one after the other; how many opened. */
  async knock(ip: string, port: number, count: number, timeoutMs = 60_000): Promise<number> {
    const line = await this.#node("knock", ip, port, count).waitFor(/opened/, timeoutMs);
    return (JSON.parse(line) as { opened: number }).opened;
  }

  #node(mode: string, ...args: (string | number)[]): Running {
    return this.spawn([process.execPath, `${this.owner.dir}/inside.cjs`, mode, ...args.map(String)]);
  }

  #leaseFile(): string {
    return `${this.owner.dir}/${this.name}.lease${this.#leases++}`;
  }
  get #lastLease(): string {
    return `${this.owner.dir}/${this.name}.lease${this.#leases - 1}`;
  }
}

function answers(lines: readonly string[]): { received: number; duplicates: number; rttMs: number[]; seqs: Map<number, number> } {
  const seqs = new Map<number, number>();
  const rttMs: number[] = [];
  let duplicates = 0;
  for (const line of lines) {
    const match = /^(?:\[(\d+\.\d+)\] )?\d+ bytes from .*icmp_seq=(\d+) .*time=([\d.]+) ms/.exec(line);
    if (match === null) continue;
    const seq = Number(match[2]);
    if (seqs.has(seq)) {
      duplicates++;
      continue;
    }
    seqs.set(seq, Number(match[1] ?? 0) * 1000);
    rttMs.push(Number(match[3]));
  }
  return { received: seqs.size, duplicates, rttMs, seqs };
}

function pingRun(lines: readonly string[], intervalMs: number): PingRunStats {
  const { received, duplicates, rttMs, seqs } = answers(lines);
  const summary = lines.map((line) => /^(\d+) packets transmitted/.exec(line)).find((match) => match !== null);
  let sent = Number(summary?.[1] ?? 0);
  // icmp_seq is 16 bits: a run of pings at 10 ms may last ten minutes before it wraps.
  const last = Math.max(0, ...seqs.keys());
  if (sent === last + 1) sent = last; // the last request was still on its way when the run was stopped
  const gaps: PingRunStats["gaps"] = [];
  let previous = 0;
  for (const seq of [...[...seqs.keys()].sort((a, b) => a - b), sent + 1]) {
    if (seq > previous + 1) {
      const from = seqs.get(previous);
      const to = seqs.get(seq);
      const count = seq - previous - 1;
      gaps.push({ firstSeq: previous + 1, count, ms: from !== undefined && to !== undefined ? Math.round(to - from) : count * intervalMs });
    }
    previous = seq;
  }
  return {
    sent, received, duplicates, rttMs, gaps,
    lossFraction: sent === 0 ? 0 : 1 - received / sent,
    longestGapMs: Math.max(0, ...gaps.map((gap) => gap.ms)),
  };
}

async function readEnv(path: string): Promise<Record<string, string>> {
  const text = await readFile(path, "utf8");
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      const at = line.indexOf("=");
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)]] : [];
    }),
  );
}

async function closed(running: Running): Promise<void> {
  await running.stop("SIGKILL");
}

async function transferOf(running: Running, timeoutMs = 120_000): Promise<Transfer> {
  const line = await running.waitFor(/sha256/, timeoutMs);
  await running.exited;
  return JSON.parse(line) as Transfer;
}
