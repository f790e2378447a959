// Makes a JavaScript module of a component: node transpile.mjs COMPONENT FOLDER
import { transpile, writeFiles } from "@bytecodealliance/jco-transpile";

const [component, folder] = process.argv.slice(2);
const { files } = await transpile(component, {
  name: "edgellm",
  outDir: folder,
  // The module asks for its imports when it is instantiated, so that each model can have files of its own.
  instantiation: { tag: "async" },
});
await writeFiles(files, folder);
