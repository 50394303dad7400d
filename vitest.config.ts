import { defineConfig } from "vitest/config";

// Source is run as it stands: the "source" export condition makes the workspaces resolve to their .ts files.
export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"], externalConditions: ["source"] } },
  test: {
    include: ["{protocol,src,apps,lab,test,bench}/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    pool: "forks",
    // Three files at once on two cores: those that drive real switches wait more than they work.
    maxWorkers: 3,
  },
});
