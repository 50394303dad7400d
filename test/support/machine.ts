// A machine of its own for what is about whole machines: all of this one's files, which it may change without this one knowing, a network
// with nothing but loopback, and systemd as its first process.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { exec } from "../../lab/exec.ts";

/** Why there can be none here; undefined: there can. */
export const machineMissing = (): string | undefined =>
  process.getuid?.() !== 0 ? "root" : !existsSync("/lib/systemd/systemd") || !existsSync("/usr/bin/systemctl") ? "systemd" : undefined;

/**
 * What a script says (both outputs) that runs as root on such a machine, once that is up. `files` are put into its /root. It ends with the
 * first command that fails, and so does this, with what it said.
 */
export async function onMachine(script: string, files: readonly string[] = [], timeoutMs = 120_000): Promise<string> {
  const dir = mkdtempSync(path.join(tmpdir(), "axion-machine-"));
  const said = path.join(dir, "said");
  try {
    // The machine's end by its halt is a signal to who started it.
    let ended = "";
    await exec(["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--cgroup", "--ipc", "--uts", "--fork", "--kill-child", "bash", "-euo", "pipefail"], { input: boot(dir, files, script), timeoutMs }).catch((error: unknown) => {
      ended = (error as Error).message;
    });
    const text = existsSync(said) ? readFileSync(said, "utf8") : "";
    if (!text.endsWith("\nended with 0\n")) throw new Error(`the script on the machine failed:\n${text}\n${ended}`);
    return text.slice(0, -"\nended with 0\n".length);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const boot = (dir: string, files: readonly string[], script: string): string => `
mount --make-rprivate /
exec 8>${dir}/said
mkdir ${dir}/disk
mount -t tmpfs tmpfs ${dir}/disk
cd ${dir}/disk
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work root
${files.map((file) => `cp ${file} root/root/`).join("\n")}
cd root
# What is enabled on this machine does not start on that one.
rm -rf etc/systemd/system/*.wants etc/systemd/system/default.target
printf '[Unit]\\nAllowIsolate=yes\\n' >etc/systemd/system/default.target
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty; do cp -a /dev/$node dev/; done
mkdir dev/net && cp -a /dev/net/tun dev/net/ 2>/dev/null || true
mkdir dev/shm dev/pts dev/mqueue dev/hugepages
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
cat >root/script <<'SCRIPT'
${script}
SCRIPT
mkdir old
pivot_root . old
umount -l old
# Not before systemd takes calls; then it is told to halt.
(
  until [ "$(systemctl is-system-running)" = running ]; do sleep 0.1; done
  status=0
  bash -euo pipefail /root/script || status=$?
  printf '\\nended with %s\\n' $status
  kill -s RTMIN+3 1
) >&8 2>&1 </dev/null &
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=axion /lib/systemd/systemd --log-target=null --show-status=0 </dev/null >/dev/null 2>&1 8>&-
`;
