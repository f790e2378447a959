// Transpiles a component to a JavaScript module: node transpile.mjs COMPONENT FOLDER
import { transpile, writeFiles } from "@bytecodealliance/jco-transpile";

const [component, folder] = process.argv.slice(2);
const { files } = await transpile(component, {
  name: "edgellm",
  outDir: folder,
  // Imports are passed at instantiation, so that each model can have files of its own.
  instantiation: { tag: "async" },
});
await writeFiles(files, folder);
