// `axion pki` by its words, and what it makes as openssl sees it.
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runCommand } from "../program.ts";

const scratch = mkdtempSync(join(tmpdir(), "axion-cli-pki-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const dir = join(scratch, "pki");

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await runCommand(["pki", argv[0]!, "--dir", dir, ...argv.slice(1)], {
    write: (text) => {
      out += text;
      return Promise.resolve();
    },
    error: (text) => (err += text),
  });
  return { code, out, err };
}
const verify = (certificate: string, purpose: string): string =>
  execFileSync("openssl", ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", join(dir, "ca.pem"), join(dir, certificate)], { encoding: "utf8", stdio: "pipe" }).trim();
const made = (file: string): X509Certificate => new X509Certificate(readFileSync(join(dir, file)));
const mode = (file: string): number => statSync(join(dir, file)).mode & 0o777;

test("an authority, a controller, a host: keys for their owner alone, lines that can be run as they are", async () => {
  expect(await run("list")).toEqual({ code: 1, out: "", err: `axion: there is no authority in ${dir}; axion pki init makes one, --dir names another folder\n` });
  expect(await run("init")).toMatchObject({ code: 0, err: "" });
  expect(await run("init")).toEqual({ code: 1, out: "", err: `axion: ${dir} has an authority already; axion pki rotate makes the next one\n` });
  const controller = await run("controller", "axion-1", "--address", "192.0.2.1", "--address", "axion.example.net", "--address", "2001:db8::1");
  expect(controller).toMatchObject({ code: 0, err: "" });
  expect(controller.out).toContain(`  --tls-cert ${dir}/controllers/axion-1.pem --tls-key ${dir}/controllers/axion-1.key --tls-ca ${dir}/ca.pem\n`);
  const host = await run("host", "hv1", "--controller", "192.0.2.1", "--controller", "2001:db8::1", "--controller", "axion.example.net:16640");
  expect(host.out).toContain("  ovs-vsctl set-ssl DIR/hv1.key DIR/hv1.pem DIR/ca.pem\n  ovs-vsctl set-manager ssl:192.0.2.1:6640 ssl:[2001:db8::1]:6640 ssl:axion.example.net:16640\n");
  expect(verify("controllers/axion-1.pem", "sslserver")).toMatch(/: OK$/);
  expect(verify("hosts/hv1.pem", "sslclient")).toMatch(/: OK$/);
  expect(made("controllers/axion-1.pem").subjectAltName).toBe("IP Address:192.0.2.1, DNS:axion.example.net, IP Address:2001:DB8:0:0:0:0:0:1");
  expect(made("hosts/hv1.pem").subject).toBe("CN=hv1");
  expect([mode("ca/1.key"), mode("controllers/axion-1.key"), mode("hosts/hv1.key"), mode("ca"), mode("hosts/hv1.pem")]).toEqual([0o600, 0o600, 0o600, 0o700, 0o644]);
  const { certificates } = JSON.parse((await run("list", "--json")).out) as { certificates: { kind: string; name: string; signed_by: number | null; days_left: number }[] };
  expect(certificates).toMatchObject([{ kind: "ca", name: "1", signed_by: null, days_left: 3649 }, { kind: "controller", name: "axion-1", signed_by: 1, days_left: 824 }, { kind: "host", name: "hv1", signed_by: 1 }]);
  expect((await run("list")).out).toMatch(/^KIND +NAME +SIGNED BY +UNTIL +DAYS LEFT +ADDRESSES\nca +1 +- /);
});

test.each([
  [["host", "../hv"], 1, 'system-id "../hv": 1 to 64 letters, digits'],
  [["host", "a".repeat(65)], 1, "1 to 64 letters"],
  [["host", "hv2", "--controller", "a:b:c"], 2, "--controller a:b:c: HOST or HOST:PORT is expected"],
  [["controller", "c", "--address", "-x"], 1, 'address "-x" is neither an IP address nor a host name'],
  [["controller", "c", "--address", "a,DNS:b"], 1, "neither an IP address nor a host name"],
  [["host", "hv2", "--days", "0"], 2, "--days must be a whole number from 1 to 36500, not 0"],
  [["retire"], 1, "there is no older authority than 1"],
])("%j is refused, and leaves nothing", async (argv, code, message) => {
  const before = readdirSync(dir, { recursive: true }).sort();
  const answer = await run(...argv);
  expect(answer).toMatchObject({ code, out: "", err: expect.stringContaining(message) });
  expect(answer.err.trim()).not.toContain("\n");
  expect(readdirSync(dir, { recursive: true }).sort()).toEqual(before);
});

test("an authority that cannot be trusted by all yet does not sign", async () => {
  mkdirSync(join(dir, "ca.pem.new"));
  expect(await run("rotate")).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/^axion: cannot write .*ca\.pem\.new: .*\n$/) as string });
  expect((await run("host", "hv3")).code).toBe(0);
  expect(verify("hosts/hv3.pem", "sslclient")).toMatch(/: OK$/);
  rmSync(join(dir, "ca.pem.new"), { recursive: true });
  rmSync(join(dir, "hosts/hv3.pem"));
});

test("a new authority: both are trusted until nothing is signed by the old one", async () => {
  const before = made("hosts/hv1.pem");
  expect((await run("renew")).out).toBe("nothing has to be renewed\n");
  expect((await run("rotate")).code).toBe(0);
  expect(readFileSync(join(dir, "ca.pem"), "utf8").match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  expect((await run("rotate")).err).toContain("the authorities 1 and 2 are both trusted");
  expect(verify("hosts/hv1.pem", "sslclient")).toMatch(/: OK$/);
  expect((await run("retire")).err).toBe("axion: still signed by an older authority: controller axion-1, host hv1; axion pki renew signs them anew\n");
  const { renewed } = JSON.parse((await run("renew", "--json")).out) as { renewed: { name: string; signed_by: number }[] };
  expect(renewed.map(({ name, signed_by }) => [name, signed_by])).toEqual([["axion-1", 2], ["hv1", 2]]);
  expect(made("controllers/axion-1.pem").subjectAltName).toContain("DNS:axion.example.net");
  expect(made("hosts/hv1.pem").publicKey.equals(before.publicKey)).toBe(false);
  expect(await run("retire")).toMatchObject({ code: 0, err: "" });
  expect(verify("hosts/hv1.pem", "sslclient")).toMatch(/: OK$/);
  expect(before.verify(made("ca.pem").publicKey)).toBe(false);
  expect(readdirSync(join(dir, "ca")).sort()).toEqual(["2.key", "2.pem"]);
});
