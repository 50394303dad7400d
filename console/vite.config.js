// Builds the console into dist/console: static files, each also as brotli and gzip, so that the listener that serves them compresses nothing.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const out = new URL("../dist/console/", import.meta.url).pathname;

function compressed() {
  return {
    name: "compressed",
    closeBundle() {
      for (const file of readdirSync(out, { recursive: true, withFileTypes: true })) {
        if (!file.isFile() || !/\.(html|js|css|svg)$/.test(file.name)) continue;
        const path = join(file.parentPath, file.name);
        const bytes = readFileSync(path);
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
        writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  base: "/console/",
  plugins: [svelte(), compressed()],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2023",
    // The policy of the page allows no scripts and styles in it, and no data: but for images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // It says how long svelte took, where a machine is busy.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
