// What the demo proves of provider networks: a VM and a machine on the physical network are in one VLAN.

import { MACHINE, PHYSNET, VLAN } from "../outside.ts";
import type { Outcome } from "../report.ts";
import { dmzOf, type World } from "../world.ts";

const OTHER_VLAN = VLAN + 1;

/** The machine reaches the VM and the VM the machine, with the VLAN's tag on the wire; a machine in another VLAN does not. */
export async function vlan({ lab, outside: { wires, machine, machinePort }, red }: World): Promise<Outcome> {
  const guest = dmzOf(red);
  const lines: string[] = [];
  const capture = lab.node.spawn(["tcpdump", "-l", "-n", "-e", "-tt", "--immediate-mode", "-i", `x-${PHYSNET}`, "ether", "host", guest.port.mac_address, "or", "(vlan and ether host", `${guest.port.mac_address})`], {
    onLine: (line) => {
      if (/^\d+\.\d+ /.test(line)) lines.push(line);
    },
  });
  await capture.waitFor(/listening on/);
  const listening = await guest.vm.listen(22);
  const into = await machine.connectTcp(guest.ip, 22, 3000);
  const out = await guest.vm.ping(MACHINE, { count: 3, intervalMs: 100 });
  await capture.stop("SIGINT");
  await wires.vsctl("set", "Port", machinePort, `tag=${OTHER_VLAN}`);
  const astray = await machine.connectTcp(guest.ip, 22, 700);
  await wires.vsctl("set", "Port", machinePort, `tag=${VLAN}`);
  const back = await machine.connectTcp(guest.ip, 22, 3000);
  await listening.close();
  const tagged = lines.filter((line) => line.includes(`vlan ${VLAN},`)).length;
  const say = (open: boolean): string => (open ? "reached" : "not reached");
  return {
    held: into && out.received === 3 && !astray && back && tagged > 0 && tagged === lines.length,
    figure: `${guest.name} (${guest.ip} on ${guest.hypervisor.name}) ${say(into)} by the machine at ${MACHINE}, which answers ${out.received} of 3 pings; ${tagged} of ${lines.length} frames in VLAN ${VLAN}; from VLAN ${OTHER_VLAN} ${say(astray)}`,
    expected: "reached, 3 of 3, all frames tagged; not reached",
    seen: `${say(into)}, ${out.received} of 3, ${tagged} of ${lines.length} tagged; ${say(astray)}, then again ${say(back)}`,
  };
}
