// Debian's openstack client as a user of a Keystone: many commands in one process of it.
import path from "node:path";
import { repositoryRoot } from "../../../lab/controller.ts";
import { spawnLogged, type Running } from "../../../lab/exec.ts";

export interface CommandAnswer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class OpenStack {
  private readonly process: Running;
  /** Commands are done one after the other. */
  private last: Promise<unknown> = Promise.resolve();
  private asked = 0;
  private readonly answers: CommandAnswer[] = [];
  /** Every command that was run. */
  readonly ran: string[] = [];

  constructor(env: Record<string, string>) {
    this.process = spawnLogged(["/usr/bin/python3", "-W", "ignore", path.join(repositoryRoot(), "test/support/openstack-client.py")], {
      env, keepLines: 20,
      onLine: (line) => {
        if (line.startsWith('{"code"')) this.answers.push(JSON.parse(line) as CommandAnswer);
      },
    });
  }

  run(...argv: string[]): Promise<CommandAnswer> {
    const done = this.last.then(async () => {
      this.ran.push(argv.join(" "));
      const number = this.asked++;
      this.process.child.stdin!.write(`${JSON.stringify(argv)}\n`);
      await this.process.waitFor(() => this.answers.length > number, 60_000);
      return this.answers[number]!;
    });
    this.last = done.catch(() => undefined);
    return done;
  }

  async stop(): Promise<void> {
    await this.process.stop("SIGKILL");
  }
}
