// What the demo proves of security groups.

import { until } from "../../exec.ts";
import { type Outcome, Surprise } from "../report.ts";
import { backOf, type World } from "../world.ts";

export async function sshAndRemoteGroup({ red }: World): Promise<Outcome> {
  const [red1, red2] = [red.guests[0]!, red.guests[1]!];
  const web = backOf(red);
  const servers = await Promise.all([red2.vm.listen(22), red2.vm.listen(8080)]);
  const [ssh, member, stranger] = await Promise.all([
    web.vm.connectTcp(red2.ip, 22, 2000),
    red1.vm.connectTcp(red2.ip, 8080, 2000),
    web.vm.connectTcp(red2.ip, 8080, 1000),
  ]);
  await Promise.all(servers.map((server) => server.close()));
  const say = (open: boolean): string => (open ? "open" : "closed");
  return {
    held: ssh && member && !stranger,
    figure: `tcp/22 from a stranger ${say(ssh)}, tcp/8080 from a member ${say(member)}, from a stranger ${say(stranger)}`,
    expected: "open, open, closed",
  };
}

/** A rule comes and goes: new connections follow it, and so does one that was established meanwhile. */
export async function ruleOpensAndCloses({ red }: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const client = red.guests[0]!;
  const server = backOf(red);
  const listening = await server.vm.listen(80);
  const open = (timeoutMs: number): Promise<boolean> => client.vm.connectTcp(server.ip, 80, timeoutMs);
  if (await open(700)) throw new Surprise("tcp/80 closed before there is a rule", "it opens");
  const rule = await red.addRule(red.groups.web, { protocol: "tcp", port_range_min: 80, port_range_max: 80, remote_ip_prefix: "10.0.0.0/24" });
  const added = performance.now();
  waiting("tcp/80 open once there is a rule");
  await until("tcp/80 open once there is a rule", () => open(300), { timeoutMs: 5000, intervalMs: 10 });
  const openMs = Math.round(performance.now() - added);
  const connection = await client.vm.openTcp(server.ip, 80);
  if (!(await connection.echo("hello"))) throw new Surprise("an established connection carries data", "no echo");
  await red.call("DELETE", `/v2.0/security-group-rules/${rule}`, undefined, 204);
  const removed = performance.now();
  waiting("an established connection stops when its rule goes");
  let lastEcho = removed;
  while (await connection.echo("still there?", 700)) {
    lastEcho = performance.now();
    if (lastEcho - removed > 5000) throw new Surprise("an established connection stops when its rule goes", "its data is echoed 5 s later");
  }
  if (await open(700)) throw new Surprise("tcp/80 closed after its rule is gone", "it opens");
  if (await connection.echo("and now?", 700)) throw new Surprise("the established connection stays cut", "its data is echoed");
  await Promise.all([connection.close(), listening.close()]);
  const last = lastEcho === removed ? "with it" : `${Math.round(lastEcho - removed)} ms after it`;
  return { held: true, figure: `tcp/80 closed; open ${openMs} ms after the rule came; closed when it went, the established connection ${last}` };
}
