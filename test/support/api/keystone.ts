// A real Keystone: Debian's, with SQLite and fernet tokens, on a port of loopback that is free, in a folder of its own. Roles admin, member, reader,
// service; projects admin, service, demo, other; users by what they are. What is made here goes with `stop`.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { exec, spawnLogged, until, type Running } from "../../../lab/exec.ts";

export const PASSWORD = "secret";
/** User -> project and role. `neutron` is the service that looks at tokens. */
const USERS = { admin: ["admin", "admin"], neutron: ["service", "service"], demo: ["demo", "member"], reader: ["demo", "reader"], other: ["other", "member"], nobody: ["demo", undefined] } as const;
export type User = keyof typeof USERS;

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What is missing here for one. */
export async function keystoneMissing(): Promise<string[]> {
  const found = await Promise.all(["keystone-manage", "uwsgi_python3"].map(async (name) => ((await exec(["sh", "-c", `command -v ${name}`], { allowFailure: true })).exitCode === 0 ? [] : [name])));
  return found.flat();
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, never>>;
}

export class Keystone {
  readonly folder: string;
  readonly url: string;
  readonly passwordFile: string;
  private readonly port: number;
  private running: Running | undefined;
  private adminToken = "";
  readonly ids = new Map<string, string>();

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
    this.url = `http://127.0.0.1:${port}/v3`;
    this.passwordFile = path.join(folder, "password");
  }

  static async start(): Promise<Keystone> {
    const folder = mkdtempSync(path.join(tmpdir(), "axion-keystone-"));
    const keystone = new Keystone(folder, await freePort());
    try {
      await keystone.setUp();
      return keystone;
    } catch (error) {
      await keystone.stop();
      throw error;
    }
  }

  private async setUp(): Promise<void> {
    const { folder, url } = this;
    writeFileSync(this.passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
    for (const name of ["fernet", "credential"]) mkdirSync(path.join(folder, name), { mode: 0o700 });
    const conf = path.join(folder, "keystone.conf");
    writeFileSync(conf, `
[DEFAULT]
log_dir = ${folder}
log_file = keystone.log
[database]
connection = sqlite:///${folder}/keystone.db
[fernet_tokens]
key_repository = ${folder}/fernet
[fernet_receipts]
key_repository = ${folder}/fernet
[credential]
key_repository = ${folder}/credential
[identity]
password_hash_rounds = 4
[token]
provider = fernet
`);
    const manage = (...args: string[]): Promise<unknown> => exec(["keystone-manage", "--config-file", conf, ...args], { timeoutMs: 120_000 });
    await manage("db_sync");
    const { username, gid } = userInfo();
    const group = (await exec(["sh", "-c", `getent group ${gid} | cut -d: -f1`])).stdout.trim();
    for (const what of ["fernet_setup", "credential_setup"]) await manage(what, "--keystone-user", username, "--keystone-group", group);
    await manage(
      "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-username", "admin", "--bootstrap-project-name", "admin", "--bootstrap-role-name", "admin", "--bootstrap-service-name", "keystone",
      "--bootstrap-region-id", "RegionOne", "--bootstrap-public-url", url, "--bootstrap-internal-url", url, "--bootstrap-admin-url", url,
    );
    // A reader keeps no writer waiting, as several threads need.
    await exec(["python3", "-c", "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute('pragma journal_mode=wal')", path.join(folder, "keystone.db")]);
    await this.resume();
    await this.fill();
  }

  /** Runs it again after `halt`. */
  async resume(): Promise<void> {
    const { folder, port } = this;
    this.running = spawnLogged([
      "uwsgi_python3", "--http-socket", `127.0.0.1:${port}`, "--wsgi-file", "/usr/bin/keystone-wsgi-public", "--master", "--processes", "1", "--threads", "4", "--enable-threads", "--lazy-apps",
      "--die-on-term", "--need-app", "--buffer-size", "65535", "--add-header", "Connection: close", "--disable-logging",
    ], { env: { OS_KEYSTONE_CONFIG_FILES: path.join(folder, "keystone.conf"), PATH: "/usr/sbin:/usr/bin:/sbin:/bin" }, logFile: path.join(folder, "uwsgi.log"), keepLines: 50 });
    await until("Keystone", async () => {
      if (this.running!.ended) throw new Error(`Keystone ended: ${this.running!.lines.join("\n")}`);
      return fetch(this.url).then((answer) => answer.ok, () => false);
    }, { timeoutMs: 60_000, intervalMs: 100 });
  }

  /** Takes it out of reach. */
  async halt(): Promise<void> {
    await this.running?.stop("SIGTERM");
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async fill(): Promise<void> {
    this.adminToken = await this.token("admin");
    const make = async (what: string, collection: string, values: Record<string, unknown>): Promise<string> => {
      const name = values.name as string;
      const found = (await this.call("GET", `/${collection}?name=${name}`)).body[collection] as unknown as { id: string }[];
      const id = found[0]?.id ?? ((await this.call("POST", `/${collection}`, { [what]: values })).body[what] as unknown as { id: string }).id;
      this.ids.set(`${what} ${name}`, id);
      return id;
    };
    for (const name of ["admin", "member", "reader", "service"]) await make("role", "roles", { name });
    for (const name of ["admin", "service", "demo", "other"]) await make("project", "projects", { name, domain_id: "default" });
    for (const [name, [project, role]] of Object.entries(USERS)) {
      const user = await make("user", "users", { name, domain_id: "default", ...(name !== "admin" && { password: PASSWORD }) });
      if (role !== undefined) await this.call("PUT", `/projects/${this.ids.get(`project ${project}`)!}/users/${user}/roles/${this.ids.get(`role ${role}`)!}`);
    }
  }

  /** Says in the catalogue where the networks' API is. */
  async network(url: string): Promise<void> {
    const service = (await this.call("POST", "/services", { service: { name: "neutron", type: "network" } })).body.service as unknown as { id: string };
    for (const kind of ["public", "internal", "admin"]) await this.call("POST", "/endpoints", { endpoint: { service_id: service.id, interface: kind, url, region_id: "RegionOne" } });
  }

  /** What a client of Debian's needs in its environment to be a user. */
  environment(user: User): Record<string, string> {
    return {
      OS_AUTH_URL: this.url, OS_USERNAME: user, OS_PASSWORD: PASSWORD, OS_PROJECT_NAME: USERS[user][0], OS_USER_DOMAIN_ID: "default", OS_PROJECT_DOMAIN_ID: "default", OS_REGION_NAME: "RegionOne",
      OS_IDENTITY_API_VERSION: "3", OS_INTERFACE: "public",
    };
  }

  /** As the administrator. @throws Error of another status than 2xx */
  async call(method: string, where: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const answer = await fetch(`${this.url}${where}`, {
      method, headers: { "x-auth-token": this.adminToken, "content-type": "application/json", ...headers }, ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${where}: ${answer.status} ${text}`);
    return { status: answer.status, headers: answer.headers, body: (text === "" ? {} : JSON.parse(text)) as Answer["body"] };
  }

  /** A token of a user; `scoped` false: of no project. */
  async token(user: User, { scoped = true, password = PASSWORD } = {}): Promise<string> {
    const domain = { id: "default" };
    const answer = await this.call("POST", "/auth/tokens", {
      auth: { identity: { methods: ["password"], password: { user: { name: user, domain, password } } }, ...(scoped ? { scope: { project: { name: USERS[user][0], domain } } } : { scope: "unscoped" }) },
    }, { "x-auth-token": "" });
    return answer.headers.get("x-subject-token")!;
  }

  /** Ends a token before its time. */
  async revoke(token: string): Promise<void> {
    await this.call("DELETE", "/auth/tokens", undefined, { "x-subject-token": token });
  }

  log(): string {
    return readFileSync(path.join(this.folder, "keystone.log"), "utf8");
  }
}
