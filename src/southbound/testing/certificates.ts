// A certificate authority for one test, made with openssl.
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A CA of its own with a certificate for each name, in `dir`: NAME.pem and NAME.key. "NAME DNS:x" has a subjectAltName too. */
export async function certificates(dir: string, ca: string, names: readonly string[]): Promise<void> {
  const openssl = (...args: string[]): Promise<unknown> => run("openssl", args, { cwd: dir });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl("req", "-x509", ...key, "-keyout", `${ca}.key`, "-out", `${ca}.pem`, "-days", "2", "-subj", `/CN=${ca}`);
  for (const entry of names) {
    const [name = "", alternative] = entry.split(" ");
    await openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    await writeFile(`${dir}/${name}.ext`, alternative === undefined ? "" : `subjectAltName=${alternative}\n`);
    await openssl("x509", "-req", "-in", `${name}.csr`, "-CA", `${ca}.pem`, "-CAkey", `${ca}.key`, "-CAcreateserial", "-days", "2", "-extfile", `${name}.ext`, "-out", `${name}.pem`);
  }
}
