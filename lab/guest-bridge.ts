// What a machine with a trunk does inside: an Open vSwitch of its own with interfaces on VLANs of the interface that is plugged. (The kernel's 802.1Q is
// not there in every lab; a bridge with `tag=` ports is what appliances and routers in machines have as well.)
import { mkdir } from "node:fs/promises";
import { exec, until } from "./exec.ts";
import type { Vm } from "./vm.ts";

const BRIDGE = "inner";

export class GuestBridge {
  private readonly vm: Vm;
  private readonly dir: string;

  private constructor(vm: Vm, dir: string) {
    this.vm = vm;
    this.dir = dir;
  }

  /** On all of eth0's frames. It has no address of its own afterwards: what has no tag is for an interface with tag 0. `dir`: of the lab's, not there yet. */
  static async start(vm: Vm, dir: string): Promise<GuestBridge> {
    const guest = new GuestBridge(vm, dir);
    await mkdir(dir);
    // It says nothing itself, and takes nothing for its own.
    await vm.sysctl("net.ipv6.conf.eth0.disable_ipv6=1");
    await vm.configure("link set eth0 address 02:00:00:00:00:01");
    await exec(["ovsdb-tool", "create", `${dir}/conf.db`, "/usr/share/openvswitch/vswitch.ovsschema"]);
    await vm.exec(["ovsdb-server", `${dir}/conf.db`, `--remote=punix:${dir}/db.sock`, `--unixctl=${dir}/ovsdb.ctl`, `--pidfile=${dir}/ovsdb.pid`, `--log-file=${dir}/ovsdb.log`, "-vconsole:off", "--detach"]);
    await guest.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1");
    await vm.exec(["ovs-vswitchd", `unix:${dir}/db.sock`, `--unixctl=${dir}/vsw.ctl`, `--pidfile=${dir}/vsw.pid`, `--log-file=${dir}/vsw.log`, "-vconsole:off", "--detach"], { env: { OVS_RUNDIR: dir } });
    await guest.vsctl("add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev", "--", "add-port", BRIDGE, "eth0");
    return guest;
  }

  async vsctl(...args: string[]): Promise<string> {
    return (await this.vm.exec(["ovs-vsctl", "--timeout=15", `--db=unix:${this.dir}/db.sock`, ...args])).stdout.trim();
  }

  /** An interface of the machine on a VLAN; tag 0: on what has none. */
  async addInterface(device: string, { tag, mac, mtu }: { readonly tag: number; readonly mac: string; readonly mtu: number }): Promise<void> {
    await this.vsctl("add-port", BRIDGE, device, `tag=${tag}`, "--", "set", "Interface", device, "type=internal", `mac="${mac}"`, `mtu_request=${mtu}`);
    await until(`interface ${device}`, async () => (await this.vm.exec(["ip", "-o", "link", "show", device], { allowFailure: true })).stdout.includes(mac));
    await this.vm.exec(["ethtool", "-K", device, "tx", "off"], { allowFailure: true });
    await this.vm.configure(`link set ${device} up`);
  }

  async removeInterface(device: string): Promise<void> {
    await this.vsctl("del-port", BRIDGE, device);
  }
}
