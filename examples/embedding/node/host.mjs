// A Node program that runs a language model in a sandbox: node host.mjs FOLDER MODEL QUESTION
// FOLDER is the output of transpile.mjs. The guest has no access to the disk: this program reads the file for it.
import { closeSync, fstatSync, openSync, readSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { cli, clocks, filesystem, io, random } from "@bytecodealliance/preview2-shim";

// The imports of the guest.
function imports(file) {
  filesystem._setPreopens({});
  const hostFiles = {
    size: () => BigInt(fstatSync(file).size),
    readAt(_name, offset, length) {
      const chunk = new Uint8Array(length);
      return chunk.subarray(0, readSync(file, chunk, 0, length, Number(offset)));
    },
  };
  return {
    "edgellm:inference/host-files": hostFiles,
    "wasi:cli/stderr": cli.stderr,
    "wasi:clocks/monotonic-clock": clocks.monotonicClock,
    "wasi:clocks/wall-clock": clocks.wallClock,
    "wasi:filesystem/preopens": filesystem.preopens,
    "wasi:filesystem/types": filesystem.types,
    "wasi:io/error": io.error,
    "wasi:io/poll": io.poll,
    "wasi:io/streams": io.streams,
    "wasi:random/random": random.random,
  };
}

// Opens the model file at `path` in an instance of its own; returns the classes of the interface and the model.
export async function open(folder, path) {
  const { instantiate } = await import(pathToFileURL(resolve(folder, "edgellm.js")));
  const file = openSync(path);
  try {
    const core = (name) => WebAssembly.compile(readFileSync(join(folder, name)));
    const { inference } = await instantiate(core, imports(file));
    return { ...inference, model: inference.Model.openHostFile("model") };
  } finally {
    closeSync(file);
  }
}

if (process.argv[1] === import.meta.filename) {
  const [folder, path, question] = process.argv.slice(2);
  const { Session, model } = await open(folder, path);
  console.log(`${model.info().name} on ${model.info().kernels}`);
  const session = Session.create(model, {});
  const prompt = { tag: "chat", val: [{ role: "user", content: question }] };
  const options = { sampler: {}, maxTokens: 100, stop: [], ignoreEos: false, logprobs: false };
  const generation = session.generate(prompt, options);
  for (let token; (token = generation.next()); ) process.stdout.write(token.text);
  console.log();
}
