// The model for the demo, screenshots and tests: SmolLM2-135M-Instruct, downloaded and converted by the edgellm program.

import {spawnSync} from "node:child_process";
import {createHash} from "node:crypto";
import {createReadStream, existsSync, mkdirSync, statSync} from "node:fs";
import {join} from "node:path";
import {fileURLToPath} from "node:url";

import {ENGINE} from "./serve.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = join(ROOT, "target", "web-demo");

export const NAME = "smollm2-135m-instruct";
/** The program, in the release build or the one that EDGELLM_BUILD names. */
export const PROGRAM = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), process.env.EDGELLM_BUILD ?? "release", "edgellm");

/** Paths of the model's GGUF file and of the `.tmac2.bin` made from it; builds what is missing, the program included. */
export function smollm2() {
  if (!existsSync(PROGRAM)) run("cargo", ["build", "--release", "--locked", "-p", "edgellm-host"]);
  const gguf = run(PROGRAM, ["pull", NAME]).trim();
  const tmac2 = join(FOLDER, `${NAME}.tmac2.bin`);
  if (!existsSync(tmac2)) {
    mkdirSync(FOLDER, {recursive: true});
    run(PROGRAM, ["quantize", "--input", gguf, "--format", "int4", "--calibration", "none", "--skip-quality", "--output", tmac2]);
  }
  return {gguf, tmac2};
}

/** Builds the browser build if it is missing. */
export function engine() {
  if (!existsSync(join(ENGINE, "index.js"))) run(join(ROOT, "scripts", "build-web"), []);
}

/** Models of the hub, which the page downloads from there and converts. */
export const HUB = [
  {
    name: "ternary-bonsai-1.7b",
    about: "chat model of ternary weights, about 490 MB",
    licence: "Apache-2.0",
    url: "https://huggingface.co/prism-ml/Ternary-Bonsai-1.7B-gguf/resolve/main/Ternary-Bonsai-1.7B-Q2_0_g64.gguf",
  },
  {
    name: "bonsai-1.7b",
    about: "chat model of binary weights, about 250 MB",
    licence: "Apache-2.0",
    url: "https://huggingface.co/prism-ml/Bonsai-1.7B-gguf/resolve/main/Bonsai-1.7B-Q1_0.gguf",
  },
];

/** The page's catalogue with this one model, and others, for `serve`. */
export async function catalogue(tmac2, others = []) {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(tmac2)) hash.update(piece);
  const entry = {
    name: NAME,
    about: "small chat model",
    licence: "Apache-2.0",
    url: `models/${NAME}.tmac2.bin`,
    bytes: statSync(tmac2).size,
    sha256: hash.digest("hex"),
  };
  return {models: {[`${NAME}.tmac2.bin`]: tmac2}, catalogue: [entry, ...others]};
}

/** The standard output of a command; its standard error goes to the terminal. */
function run(program, args) {
  const {status, stdout, error} = spawnSync(program, args, {cwd: ROOT, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8"});
  if (error || status !== 0) throw new Error(`${program} ${args.join(" ")} failed: ${error?.message ?? `exit code ${status}`}`);
  return stdout;
}
