import { defineConfig } from "vitest/config";

/** Of one process, without switches, browsers or child processes to speak of. */
const UNITS = ["{protocol,src,apps}/**/*.test.ts", "test/property/**/*.test.ts"];
const NEVER = ["**/node_modules/**", "**/dist/**"];

// Source is run as it stands: the "source" export condition makes the workspaces resolve to their .ts files.
export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"], externalConditions: ["source"] } },
  test: {
    exclude: NEVER,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: "forks",
    // npm test leaves them out, npm run test:long runs them alone: CONTRIBUTING.md.
    tags: [{ name: "long", description: "of the second stage, npm run test:long" }],
    projects: [
      // To load the engine anew for each file takes as long as most files' tests: these share what a process has loaded. No module keeps state.
      // As many at once as there are cores.
      { extends: true, test: { name: "units", include: UNITS, isolate: false, maxWorkers: 2, sequence: { groupOrder: 0 } } },
      // Three at once on two cores: those that drive real switches wait more than they work.
      { extends: true, test: { name: "whole", include: ["{lab,test,bench}/**/*.test.ts"], exclude: [...NEVER, ...UNITS], maxWorkers: 3, sequence: { groupOrder: 1 } } },
    ],
  },
});
