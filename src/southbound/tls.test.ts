// With certificates both ports speak TLS only, the switch is told ssl:, and peers without a certificate of the CA get nowhere.
import { readFile } from "node:fs/promises";
import { connect } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { certificates } from "./testing/certificates.ts";
import { eventually, Ovs } from "./testing/ovs.ts";
import { numbered, World } from "./testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

test("a switch with a certificate is adopted; plain text and strangers are turned away", async () => {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  await certificates(ovs.dir, "ca", ["controller", "hv1"]);
  await certificates(ovs.dir, "other-ca", ["stranger"]);
  const pem = (name: string): Promise<Buffer> => readFile(`${ovs.dir}/${name}`);
  const w = await World.start({
    want: () => ({ flows: [numbered(1)] }),
    config: { tls: { cert: await pem("controller.pem"), key: await pem("controller.key"), ca: await pem("ca.pem") }, handshakeTimeoutMs: 1000 },
  });
  cleanup.push(() => w.stop());
  await ovs.vsctl("set-ssl", `${ovs.dir}/hv1.key`, `${ovs.dir}/hv1.pem`, `${ovs.dir}/ca.pem`);
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
