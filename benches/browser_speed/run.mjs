#!/usr/bin/env node
// EdgeLLM in Chromium, native EdgeLLM (AVX2) and llama.cpp in the same Chromium (@wllama/wllama), interleaved.
//
//     scripts/build-web && cargo build --release -p edgellm-host -p edgellm-benches
//     npm ci --prefix benches/browser_speed && npm ci --prefix wasm/tests
//     node benches/browser_speed/run.mjs [--rounds 5] [--threads 1,2] [--tokens 64] [--gguf FOLDER] [--output FILE]
//     node benches/browser_speed/run.mjs --files NAME=FILE.tmac2.bin,... --peers NAME=FILE.gguf,... [--sentences 32]
//
// The model is SmolLM2-135M-Instruct: int4 (lossless from the published Q4_1), int2 and bitnet for us, the published
// Q4_1 for wllama, and any other *.gguf of that model in the directory --gguf (made by llama-quantize, which
// benches/llama_cpp.py builds). Every round measures every row once; ratios are taken within a round. Answers are
// checked: ours must equal the native program's tokens, wllama's must name the capital of France. With --files and --peers
// other files of one model are measured, whose answers wllama's are not compared with; --sentences shortens the prompt, of 16
// tokens each.
// Writes benches/results/browser_speed.json and prints a Markdown table.

import { execFileSync } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { gguf, launch, model, ROOT, servePackage } from '../../wasm/tests/fixture.mjs';

const { values: args } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '1,2' },
    tokens: { type: 'string', default: '64' },
    formats: { type: 'string', default: 'int4,int2,bitnet' },
    gguf: { type: 'string' },
    files: { type: 'string' },
    peers: { type: 'string', default: '' },
    sentences: { type: 'string', default: '32' },
    output: { type: 'string', default: join(ROOT, 'benches', 'results', 'browser_speed.json') },
  },
});
const [rounds, tokens, sentences] = [args.rounds, args.tokens, args.sentences].map(Number);
/** NAME=FILE,... as pairs. */
const named = (list) => list.split(',').filter(Boolean).map((item) => item.split('='));
const threadCounts = args.threads.split(',').map(Number);

/** Native: the tokens that the page must generate too, and the speed to compare with. */
function native(path, threads) {
  const program = join(ROOT, 'target', 'release', 'speed');
  const options = ['--kernel', 'avx2', '--threads', threads, '--prompt', 16 * sentences, '--generate', tokens].map(String);
  const found = JSON.parse(execFileSync(program, [path, ...options], { encoding: 'utf8' }));
  return {
    prefill: found.prefill_tokens_per_second,
    decode: found.decode_tokens_per_second,
    hash: found.answer_hash,
  };
}

/** `speed`'s hash of an answer: FNV-1a over the ids as 32-bit floats. */
function answerHash(ids) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new Uint8Array(Float32Array.from(ids).buffer)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, '0');
}

function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q) => sorted[Math.round((sorted.length - 1) * q)];
  const median = (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
  return { median, lower_quartile: at(0.25), upper_quartile: at(0.75), min: sorted[0], max: sorted.at(-1) };
}

const formats = args.files ? named(args.files).map(([name]) => name) : args.formats.split(',');
const files = Object.fromEntries(args.files ? named(args.files) : formats.map((format) => [format, model(format)]));
const others = args.gguf ? readdirSync(args.gguf).filter((name) => name.endsWith('.gguf')) : [];
const sources = args.files
  ? named(args.peers)
  : [['Q4_1', gguf()], ...others.map((name) => [basename(name, '.gguf'), join(args.gguf, name)])];

const rows = [];
for (const format of formats) {
  for (const threads of threadCounts) {
    rows.push({ name: `native avx2 ${format} ${threads}T`, engine: 'native', file: files[format], format, threads });
    const variants = threads === 1 ? ['simd', 'relaxed', 'threads'] : ['threads'];
    for (const variant of variants) {
      const name = `browser ${variant} ${format} ${threads}T`;
      rows.push({ name, engine: 'edgellm', file: files[format], format, threads, variant });
    }
  }
}
for (const [format, file] of sources) {
  for (const threads of threadCounts) rows.push({ name: `wllama ${format} ${threads}T`, engine: 'wllama', file, format, threads });
}

/** Page load to first token, in fresh pages of an origin that has stored the model. */
async function measureStarts() {
  const context = await browser.newContext();
  const starts = [];
  for (let visit = -2; visit < rounds; visit++) {
    const page = await context.newPage();
    await page.goto(`${server.url}/start`);
    await page.waitForFunction(() => globalThis.start, undefined, { timeout: 120_000 });
    // The first visit stores the model, the second one compiles the module for the first time.
    if (visit >= 0) starts.push(await page.evaluate(() => globalThis.start));
    await page.close();
  }
  await context.close();
  return starts;
}

const roots = {
  '/models/start': files[formats[0]],
  '/wllama/': join(import.meta.dirname, 'node_modules', '@wllama', 'wllama', 'esm'),
  '/bench/': import.meta.dirname,
};
rows.forEach((row, index) => {
  row.url = `/models/${index}`;
  roots[row.url] = row.file;
});
const routes = {
  '/start': (request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><link rel="icon" href="data:,"><script type="module" src="/bench/start.js"></script>');
  },
};
const server = await servePackage({ roots, routes });
const browser = await launch();
const page = await browser.newPage();
page.on('console', (message) => message.type() === 'error' && console.error(message.text()));
await page.goto(`${server.url}/`);
const inPage = (name, ...args) =>
  page.evaluate(async ([name, args]) => (await import('/bench/page.js'))[name](...args), [name, args]);

for (const row of rows.filter(({ engine }) => engine !== 'native')) {
  console.error(`loading ${row.name}`);
  await inPage('load', row);
}
const runs = rows.map(() => []);
for (let round = -1; round < rounds; round++) {
  const hashes = {};
  for (const [index, row] of rows.entries()) {
    const found = row.engine === 'native' ? native(row.file, row.threads) : await inPage('measure', row.name, tokens, sentences);
    if (row.engine === 'native') hashes[row.format] = found.hash;
    if (row.engine === 'edgellm' && answerHash(found.tokenIds) !== hashes[row.format]) {
      throw new Error(`${row.name} generates other tokens than the native program`);
    }
    // Fewer bits need not get it right.
    if (!args.files && ['int4', 'Q4_1'].includes(row.format) && !/Paris/.test(found.answer ?? 'Paris')) {
      throw new Error(`${row.name} answers ${found.answer}`);
    }
    // The first round warms up.
    if (round >= 0) runs[index].push({ prefill: found.prefill, decode: found.decode });
    console.error(`${round + 1}/${rounds} ${row.name}: prefill ${found.prefill.toFixed(1)}, decode ${found.decode.toFixed(1)}`);
  }
}
const starts = args.files ? [] : await measureStarts();
const version = browser.version();
await browser.close();
await server.close();

const results = rows.map(({ name, engine, format, threads, variant, file }, index) => ({
  name,
  engine,
  variant,
  format,
  threads,
  file_bytes: statSync(file).size,
  decode: spread(runs[index].map(({ decode }) => decode)),
  prefill: spread(runs[index].map(({ prefill }) => prefill)),
  // Relative to the native program on the same file with as many threads.
  of_native: (() => {
    const other = rows.findIndex((row) => row.engine === 'native' && row.format === format && row.threads === threads);
    if (other < 0) return undefined;
    const ratio = (key) => spread(runs[index].map((run, round) => run[key] / runs[other][round][key]));
    return { decode: ratio('decode'), prefill: ratio('prefill') };
  })(),
}));
const start = starts.length > 0 && {
  format: formats[0],
  variant: starts[0].variant,
  loaded_ms: spread(starts.map(({ loadedMs }) => loadedMs)),
  first_token_ms: spread(starts.map(({ firstTokenMs }) => firstTokenMs)),
};
/** The CPU's name, as the other programs of benches/ report it. */
const machine = JSON.parse(
  execFileSync('python3', ['-c', 'import json, machine; print(json.dumps(machine.machine()))'], {
    cwd: join(ROOT, 'benches'),
    encoding: 'utf8',
  }),
);
const report = { chromium: version, machine, rounds, tokens, start, rows: results };
writeFileSync(args.output, `${JSON.stringify(report, null, 1)}\n`);

if (start) console.log(`Page load to first token, model stored: ${start.first_token_ms.median.toFixed(0)} ms (${start.variant})\n`);
console.log('| row | decode tokens/s | of native | prefill tokens/s | of native |\n|---|---|---|---|---|');
for (const { name, decode, prefill, of_native: ratio } of results) {
  const range = ({ median, lower_quartile, upper_quartile }) =>
    `${median.toFixed(1)} (${lower_quartile.toFixed(1)} to ${upper_quartile.toFixed(1)})`;
  const share = (key) => (ratio ? `${(100 * ratio[key].median).toFixed(0)} %` : '');
  console.log(`| ${name} | ${range(decode)} | ${share('decode')} | ${range(prefill)} | ${share('prefill')} |`);
}
