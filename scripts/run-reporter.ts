// vitest's report in JSON, with what that leaves out: errors outside of any test. test.sh runs vitest with it, test-report.ts reads what it writes.
import { JsonReporter } from "vitest/node";

type Modules = Parameters<JsonReporter["onTestRunEnd"]>[0];
interface RunError {
  readonly name?: string;
  readonly message: string;
  readonly stack?: string;
}

export default class RunReporter extends JsonReporter {
  private errors: readonly RunError[] = [];

  override async onTestRunEnd(modules: Modules, errors: readonly RunError[] = []): Promise<void> {
    this.errors = errors;
    await super.onTestRunEnd(modules);
  }

  override async writeReport(report: string): Promise<void> {
    const unhandledErrors = this.errors.map(({ name, message, stack }) => ({ name, message, stack }));
    await super.writeReport(JSON.stringify({ ...(JSON.parse(report) as object), unhandledErrors }));
  }
}
