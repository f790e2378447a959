// Copies the two libraries that the page uses from node_modules to vendor/, so that neither the page nor the server that
// embeds it needs npm. `npm run vendor` after changing a version; with --check it only compares.
import {readFile, writeFile} from "node:fs/promises";

const modules = new URL("../node_modules/", import.meta.url);
const vendor = new URL("../vendor/", import.meta.url);
const files = {
  "marked/lib/marked.esm.js": "marked.js",
  "marked/LICENSE": "marked.LICENSE",
  "@noble/hashes/sha2.js": "noble/sha2.js",
  "@noble/hashes/_md.js": "noble/_md.js",
  "@noble/hashes/_u64.js": "noble/_u64.js",
  "@noble/hashes/utils.js": "noble/utils.js",
  "@noble/hashes/LICENSE": "noble/LICENSE",
};

const check = process.argv.includes("--check");
for (const [from, to] of Object.entries(files)) {
  // Without source maps, which are not copied.
  const text = (await readFile(new URL(from, modules), "utf8")).replace(/^\/\/# sourceMappingURL=.*\n?/m, "");
  const target = new URL(to, vendor);
  if (!check) await writeFile(target, text);
  else if ((await readFile(target, "utf8")) !== text) {
    console.error(`vendor/${to} differs from package-lock.json: npm run vendor`);
    process.exitCode = 1;
  }
}
