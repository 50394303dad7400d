// Certificates for a house: an authority in a folder of files, and what it signs for controllers and hosts. openssl makes keys and certificates, as
// it does for Open vSwitch's own ovs-pki: nothing here is cryptography, and whoever wonders reads the files with the tool that everybody has.
//
//   ca.pem            what everybody trusts: the authority's certificate; between rotate and retire those of the old and the new one
//   ca/N.pem N.key    authorities, the last of which signs
//   controllers/NAME.pem NAME.key, hosts/SYSTEM-ID.pem SYSTEM-ID.key
//
// A file is written under another name and then renamed, so that who reads it meanwhile (a controller looks every second) has one or the other whole.
import { execFile } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { fileErrorText } from "../../lib/files.ts";

export type PkiErrorCode =
  | "INVALID" // a name or an address
  | "REFUSED" // it would take away what is needed
  | "MISSING" // there is no authority, or nothing of that name
  | "IO" // the folder
  | "TOOL"; // openssl

/** A command on certificates that came to nothing, and changed nothing; it ends with exit code 1. */
export class PkiError extends Error {
  override readonly name = "PkiError";
  readonly code: PkiErrorCode;

  constructor(code: PkiErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export type Kind = "ca" | "controller" | "host";

/** What is known of a certificate. */
export interface Issued {
  readonly kind: Kind;
  /** A controller's name, a host's system-id, the number of an authority. */
  readonly name: string;
  readonly file: string;
  readonly key: string;
  /** subjectAltName, as openssl writes it: DNS:..., IP:... */
  readonly addresses: readonly string[];
  readonly until: Date;
  /** Number of the authority that signed it; undefined: none of those that are there. */
  readonly authority: number | undefined;
}

export interface Paths {
  readonly trusted: string;
  readonly certificate: string;
  readonly key: string;
}

const FOLDERS = { ca: "ca", controller: "controllers", host: "hosts" } as const;
/** Elliptic curve P-256: every OpenSSL that Open vSwitch is built with has it, and a handshake costs little. */
const CURVE = "prime256v1";
/** RFC 5280 appendix A.1, ub-common-name; the characters are those that need no quotes in files, shells and names of openssl. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,63})$/;

/** @throws PkiError */
export function checkName(what: string, name: string): string {
  if (!NAME.test(name)) throw new PkiError("INVALID", `${what} ${JSON.stringify(name)}: 1 to 64 letters, digits, ".", "_", ":" and "-" are expected, a letter or digit first`);
  return name;
}

/** A host's name or address as a subjectAltName. @throws PkiError */
export function alternativeOf(address: string): string {
  if (isIP(address) !== 0) return `IP:${address}`;
  if (/^(?=.{1,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/.test(address)) return `DNS:${address}`;
  throw new PkiError("INVALID", `address ${JSON.stringify(address)} is neither an IP address nor a host name`);
}

const run = promisify(execFile);
async function openssl(...args: string[]): Promise<void> {
  try {
    await run("openssl", args, { timeout: 60_000 });
  } catch (error) {
    const { code, stderr = "", message } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === "ENOENT") throw new PkiError("TOOL", "there is no openssl on this machine: install the package of that name", error);
    throw new PkiError("TOOL", `openssl ${args[0]!} failed: ${stderr.trim().split("\n").at(-1) || message}`, error);
  }
}

/** Whole, or as it was before. @throws PkiError */
async function replaced(path: string, content: Buffer | string, mode: number): Promise<void> {
  const next = `${path}.new`;
  try {
    const file = await open(next, "w", mode);
    try {
      await file.chmod(mode); // one that was left has another
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    throw new PkiError("IO", `cannot write ${next}: ${fileErrorText(error)}`, error);
  }
}

export class Authority {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  get trusted(): string {
    return join(this.dir, "ca.pem");
  }

  /** A new house's. @throws PkiError where there is one */
  async init(days: number): Promise<Issued> {
    if ((await this.numbers()).length > 0) throw new PkiError("REFUSED", `${this.dir} has an authority already; axion pki rotate makes the next one`);
    try {
      await mkdir(this.dir, { recursive: true, mode: 0o700 });
      for (const folder of Object.values(FOLDERS)) await mkdir(join(this.dir, folder), { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new PkiError("IO", `cannot use ${this.dir}: ${fileErrorText(error)}`, error);
    }
    return this.next(1, days);
  }

  /** The next authority: it signs from now on, and both are trusted. @throws PkiError */
  async rotate(days: number): Promise<Issued> {
    const numbers = await this.numbers();
    if (numbers.length > 1) throw new PkiError("REFUSED", `the authorities ${numbers.join(" and ")} are both trusted: renew what the older one signed, then axion pki retire`);
    return this.next(await this.current() + 1, days);
  }

  /** Trust in older authorities ends. @throws PkiError while something is signed by one */
  async retire(): Promise<readonly number[]> {
    const current = await this.current();
    const old = (await this.numbers()).filter((n) => n !== current);
    if (old.length === 0) throw new PkiError("REFUSED", `there is no older authority than ${current}`);
    const left = (await this.list()).filter(({ kind, authority }) => kind !== "ca" && authority !== current);
    if (left.length > 0) throw new PkiError("REFUSED", `still signed by an older authority: ${left.map(({ kind, name }) => `${kind} ${name}`).join(", ")}; axion pki renew signs them anew`);
    await replaced(this.trusted, await readFile(this.path("ca", String(current)).certificate), 0o644);
    for (const n of old) {
      const { certificate, key } = this.path("ca", String(n));
      for (const path of [certificate, key]) await rm(path, { force: true });
    }
    return old;
  }

  /** A key and a certificate, in place of those of that name. @throws PkiError */
  async issue(kind: "controller" | "host", name: string, addresses: readonly string[], days: number): Promise<Issued> {
    checkName(kind === "host" ? "system-id" : "name", name);
    const current = await this.current();
    const paths = this.path(kind, name);
    const ca = this.path("ca", String(current));
    const alternatives = [...new Set(addresses.map(alternativeOf))];
    await this.scratch(async (at) => {
      const config = join(at, "config");
      await replaced(config, [
        "[req]", "prompt=no", "distinguished_name=name", "[name]", `CN=${name}`, "[extensions]", "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
        // A host is asked for its certificate as a client, a controller is both: it asks switches that listen.
        `extendedKeyUsage=${kind === "host" ? "clientAuth,serverAuth" : "serverAuth,clientAuth"}`, "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid",
        ...(alternatives.length > 0 ? [`subjectAltName=${alternatives.join(",")}`] : []), "",
      ].join("\n"), 0o600);
      const [key, request, certificate] = ["key", "request", "certificate"].map((file) => join(at, file)) as [string, string, string];
      await openssl("req", "-new", "-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${CURVE}`, "-nodes", "-sha256", "-config", config, "-keyout", key, "-out", request);
      await openssl("x509", "-req", "-sha256", "-in", request, "-CA", ca.certificate, "-CAkey", ca.key, "-set_serial", serial(), "-days", String(days), "-extfile", config, "-extensions", "extensions", "-out", certificate);
      const [made, its] = [await readFile(certificate), await readFile(key)];
      // The key last: Open vSwitch looks at the certificate only when it has found another key, and would keep the old one if that came afterwards
      // (stream_ssl_set_key_and_cert, lib/stream-ssl.c). A controller takes neither until they belong together.
      await replaced(paths.certificate, made, 0o644);
      await replaced(paths.key, its, 0o600);
    });
    return this.read(kind, name);
  }

  /** Everything that was issued, authorities first. @throws PkiError */
  async list(): Promise<readonly Issued[]> {
    await this.current();
    const found: Issued[] = [];
    for (const kind of ["ca", "controller", "host"] as const) {
      const names = (await readdir(join(this.dir, FOLDERS[kind]))).filter((file) => file.endsWith(".pem")).map((file) => file.slice(0, -4));
      for (const name of names.sort((a, b) => (kind === "ca" ? Number(a) - Number(b) : a < b ? -1 : 1))) found.push(await this.read(kind, name));
    }
    return found;
  }

  /** @throws PkiError when nothing of that name was issued */
  async read(kind: Kind, name: string): Promise<Issued> {
    const { certificate: file, key } = this.path(kind, name);
    const certificate = await this.certificate(file);
    let authority: number | undefined;
    for (const n of await this.numbers()) if (certificate.verify((await this.certificate(this.path("ca", String(n)).certificate)).publicKey)) authority = n;
    const addresses = certificate.subjectAltName?.split(", ").map((one) => one.replace("IP Address:", "IP:")) ?? [];
    return { kind, name, file, key, addresses, until: new Date(certificate.validTo), authority };
  }

  path(kind: Kind, name: string): Paths {
    const base = join(this.dir, FOLDERS[kind], name);
    return { trusted: this.trusted, certificate: `${base}.pem`, key: `${base}.key` };
  }

  private async certificate(file: string): Promise<X509Certificate> {
    try {
      return new X509Certificate(await readFile(file));
    } catch (error) {
      throw new PkiError("MISSING", `cannot use the certificate ${file}: ${fileErrorText(error)}`, error);
    }
  }

  private async next(number: number, days: number): Promise<Issued> {
    const paths = this.path("ca", String(number));
    await this.scratch(async (at) => {
      const config = join(at, "config");
      // Two of one name could not be told apart by who has both.
      const name = `Axion ${number} ${randomBytes(4).toString("hex")}`;
      await replaced(config, ["[req]", "prompt=no", "distinguished_name=name", "x509_extensions=extensions", "[name]", `CN=${name}`, "[extensions]", "basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash", ""].join("\n"), 0o600);
      const [key, certificate] = [join(at, "key"), join(at, "certificate")];
      await openssl("req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${CURVE}`, "-nodes", "-sha256", "-config", config, "-keyout", key, "-out", certificate, "-days", String(days), "-set_serial", serial());
      const made = await readFile(certificate, "utf8");
      // The newest first: a host that has Open vSwitch read one only is with it.
      const others = await Promise.all((await this.numbers()).toReversed().map((n) => readFile(this.path("ca", String(n)).certificate, "utf8")));
      await replaced(paths.key, await readFile(key), 0o600);
      // Trusted before it signs, whatever ends this in between.
      await replaced(this.trusted, [made, ...others].join(""), 0o644);
      await replaced(paths.certificate, made, 0o644);
    });
    return this.read("ca", String(number));
  }

  private async numbers(): Promise<number[]> {
    const files = await readdir(join(this.dir, FOLDERS.ca)).catch((): string[] => []);
    return files.flatMap((file) => (/^\d{1,9}\.pem$/.test(file) ? [Number(file.slice(0, -4))] : [])).sort((a, b) => a - b);
  }

  /** The one that signs. @throws PkiError */
  private async current(): Promise<number> {
    const last = (await this.numbers()).at(-1);
    if (last === undefined) throw new PkiError("MISSING", `there is no authority in ${this.dir}; axion pki init makes one, --dir names another folder`);
    return last;
  }

  private async scratch(work: (at: string) => Promise<void>): Promise<void> {
    const at = await mkdtemp(join(tmpdir(), "axion-pki-"));
    try {
      await work(at);
    } finally {
      await rm(at, { recursive: true, force: true });
    }
  }
}

/** RFC 5280 section 4.1.2.2: positive, at most 20 octets; none twice. */
const serial = (): string => `0x${(randomBytes(1)[0]! & 0x7f | 0x40).toString(16)}${randomBytes(15).toString("hex")}`;
