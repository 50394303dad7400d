// For tests only: a real ovs-vswitchd with a dummy datapath in a directory of its own, when Open vSwitch is installed.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { OpenFlowConnection, type ConnectionOptions } from "../channel/connection.ts";

export const ovsInstalled = existsSync("/usr/sbin/ovs-vswitchd") && existsSync("/usr/share/openvswitch/vswitch.ovsschema");

export interface TestSwitch {
  readonly dir: string;
  vsctl(...args: string[]): string;
  /** ovs-ofctl -O OpenFlow13 COMMAND br0 ... */
  ofctl(command: string, ...args: string[]): string;
  appctl(...args: string[]): string;
  connect(options?: ConnectionOptions): Promise<OpenFlowConnection>;
  stop(): void;
}

export function startSwitch(): TestSwitch {
  const dir = mkdtempSync(join(tmpdir(), "openflow-test-"));
  const env = { ...process.env, OVS_RUNDIR: dir, OVS_LOGDIR: dir };
  const run = (file: string, ...args: string[]): string => execFileSync(file, args, { env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const db = `unix:${dir}/db.sock`;
  const stop = (): void => {
    for (const name of ["vsw", "ovsdb"]) {
      try {
        process.kill(Number(readFileSync(join(dir, `${name}.pid`), "utf8")), "SIGKILL");
      } catch {
        // not started, or gone
      }
    }
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    run("ovsdb-tool", "create", `${dir}/conf.db`, "/usr/share/openvswitch/vswitch.ovsschema");
    run("ovsdb-server", `${dir}/conf.db`, `--remote=punix:${dir}/db.sock`, `--unixctl=${dir}/ovsdb.ctl`, `--pidfile=${dir}/ovsdb.pid`, `--log-file=${dir}/ovsdb.log`, "--detach");
    run("ovs-vsctl", `--db=${db}`, "--no-wait", "init");
    run("ovs-vswitchd", db, "--enable-dummy=override", "--disable-system", `--unixctl=${dir}/vsw.ctl`, `--pidfile=${dir}/vsw.pid`, `--log-file=${dir}/vsw.log`, "--detach");
    run("ovs-vsctl", `--db=${db}`, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "protocols=OpenFlow13");
  } catch (error) {
    stop();
    throw error;
  }
  return {
    dir,
    vsctl: (...args) => run("ovs-vsctl", `--db=${db}`, ...args),
    ofctl: (command, ...args) => run("ovs-ofctl", "-O", "OpenFlow13", command, `unix:${dir}/br0.mgmt`, ...args),
    appctl: (...args) => run("ovs-appctl", "-t", `${dir}/vsw.ctl`, ...args),
    async connect(options) {
      const connection = new OpenFlowConnection(connect(`${dir}/br0.mgmt`), options);
      await connection.handshake();
      return connection;
    },
    stop,
  };
}

/** A switch on which every action can stand: TLV map of tun_metadata0 (4 bytes) and tun_metadata3 (8), meter 1, group 77. */
export function startFlowSwitch(): TestSwitch {
  const ovs = startSwitch();
  try {
    ovs.ofctl("add-tlv-map", "{class=0xffff,type=0x80,len=4}->tun_metadata0,{class=0xffff,type=0x81,len=8}->tun_metadata3");
    ovs.ofctl("add-meter", "meter=1,pktps,bands=type=drop,rate=10");
    ovs.ofctl("add-group", "group_id=77,type=all,bucket=output:1");
  } catch (error) {
    ovs.stop();
    throw error;
  }
  return ovs;
}
