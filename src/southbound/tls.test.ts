// With certificates both ports speak TLS only, the switch is told ssl:, and peers without a certificate of the CA get nowhere.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { connect } from "node:tls";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { eventually, Ovs } from "./testing/ovs.ts";
import { numbered, World } from "./testing/world.ts";

const run = promisify(execFile);
const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

/** A CA of its own with certificates for `names`, in `dir`. */
async function certificates(dir: string, ca: string, names: readonly string[]): Promise<void> {
  const openssl = (...args: string[]): Promise<unknown> => run("openssl", args, { cwd: dir });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl("req", "-x509", ...key, "-keyout", `${ca}.key`, "-out", `${ca}.pem`, "-days", "2", "-subj", `/CN=${ca}`);
  for (const name of names) {
    await openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    await openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-CAcreateserial", "-days", "2", "-out", `${name}.pem`);
  }
}

test("a switch with a certificate is adopted; plain text and strangers are turned away", async () => {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  await certificates(ovs.dir, "ca", ["controller", "switch"]);
  await certificates(ovs.dir, "other-ca", ["stranger"]);
  const pem = (name: string): Promise<Buffer> => readFile(`${ovs.dir}/${name}`);
  const w = await World.start({
    want: () => ({ flows: [numbered(1)] }),
    config: { tls: { cert: await pem("controller.pem"), key: await pem("controller.key"), ca: await pem("ca.pem") }, handshakeTimeoutMs: 1000 },
  });
  cleanup.push(() => w.stop());
  await ovs.vsctl("set-ssl", `${ovs.dir}/switch.key`, `${ovs.dir}/switch.pem`, `${ovs.dir}/ca.pem`);
  await ovs.vsctl("set-manager", `ssl:127.0.0.1:${w.ports.ovsdb}`);
  await w.connected();
  expect(await ovs.flows()).toHaveLength(1);
  expect(await ovs.vsctl("get-controller", "br-int")).toBe(`ssl:127.0.0.1:${w.ports.openflow}`);

  const plain = await Ovs.start({ "system-id": "hv2", "axion-encap-ip": "192.0.2.2" });
  cleanup.push(() => plain.stop());
  await plain.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
  for (const port of [w.ports.openflow, w.ports.ovsdb]) {
    const before = w.lines("warn").length;
    const stranger = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, cert: await pem("stranger.pem"), key: await pem("stranger.key") });
    await new Promise<void>((resolve) => {
      stranger.on("error", () => undefined);
      stranger.on("close", () => resolve());
      stranger.resume();
    });
    await eventually("a line that says who", () => w.lines("warn").slice(before).some(({ fields }) => fields.reason === "its certificate is not accepted: UNABLE_TO_VERIFY_LEAF_SIGNATURE"));
  }
  expect(w.southbound.switches().map((s) => [s.id, s.state])).toEqual([["hv1", "connected"]]);
});
