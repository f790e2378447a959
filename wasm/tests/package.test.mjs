// The npm package as others get it: packed, installed into a fresh Vite project, built, opened.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'node:test';
import { launch, model, PACKAGE, ROOT } from './fixture.mjs';
import { serve } from './server.mjs';

const PROJECT = join(ROOT, 'target', 'browser', 'vite-project');
const npm = (...args) => execFileSync('npm', args, { cwd: PROJECT, encoding: 'utf8' });

/** A new project with the packed package in it, as `npm install` puts it there. */
function createProject() {
  rmSync(PROJECT, { recursive: true, force: true });
  mkdirSync(PROJECT, { recursive: true });
  const write = (name, text) => writeFileSync(join(PROJECT, name), text);
  write('package.json', JSON.stringify({ name: 'fresh', private: true, type: 'module' }));
  write('index.html', '<!doctype html><link rel="icon" href="data:,"><p></p><script type="module" src="./main.ts"></script>');
  write(
    'main.ts',
    `import { Model, type Token } from 'edgellm-web';
     const model: Model = await Model.fromUrl('/model.tmac2.bin');
     const session = await model.session();
     const answer = document.querySelector('p')!;
     const show = (token: Token) => { answer.textContent += token.text; };
     for await (const token of session.generate('The capital of France is', { maxTokens: 5, temperature: 0 })) show(token);
     document.title = model.info.variant;`,
  );
  const [packed] = JSON.parse(npm('pack', '--json', '--pack-destination', PROJECT, PACKAGE));
  npm('install', '--no-audit', '--no-fund', '--ignore-scripts', '--offline', join(PROJECT, packed.filename));
  // Vite itself is the tests' own, so that nothing is downloaded here.
  const modules = join(import.meta.dirname, 'node_modules');
  for (const name of ['vite', 'typescript']) symlinkSync(join(modules, name), join(PROJECT, 'node_modules', name));
  return packed;
}

test('packed, installed, type-checked, built by Vite and opened', async () => {
  const packed = createProject();
  const files = packed.files.map(({ path }) => path);
  for (const file of ['index.js', 'index.d.ts', 'README.md', 'LICENSE', 'worker.js']) assert.ok(files.includes(file), file);
  // Nothing that an earlier version had is left in the build.
  const scripts = (names) => names.filter((name) => /^[^/]*\.js$/.test(name)).sort();
  assert.deepEqual(scripts(files), scripts(readdirSync(join(ROOT, 'wasm', 'package'))));
  for (const variant of ['simd', 'relaxed', 'threads']) {
    assert.ok(files.includes(`${variant}/edgellm_bg.wasm`), variant);
    const gzipped = gzipSync(readFileSync(join(PACKAGE, variant, 'edgellm_bg.wasm')), { level: 9 }).length;
    assert.ok(gzipped < 2e6, `${variant} is ${gzipped} bytes gzipped`);
  }

  const typescript = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
  const strict = ['--noEmit', '--strict', '--module', 'esnext', '--target', 'esnext', '--moduleResolution', 'bundler'];
  execFileSync(process.execPath, [typescript, ...strict, 'main.ts'], { cwd: PROJECT, stdio: 'inherit' });
  const vite = join(PROJECT, 'node_modules', 'vite', 'bin', 'vite.js');
  execFileSync(process.execPath, [vite, 'build', '--logLevel', 'warn'], { cwd: PROJECT, stdio: 'inherit' });
  const assets = readdirSync(join(PROJECT, 'dist', 'assets'));
  assert.equal(assets.filter((name) => name.endsWith('.wasm')).length, 3, assets.join());
  assert.ok(assets.every((name) => statSync(join(PROJECT, 'dist', 'assets', name)).size > 0));

  const server = await serve({ roots: { '/': join(PROJECT, 'dist') + '/', '/model.tmac2.bin': model() } });
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    await page.goto(`${server.url}/`);
    await page.waitForFunction(() => document.title !== '', undefined, { timeout: 60_000 });
    assert.match(await page.textContent('p'), /Paris/);
    assert.equal(await page.title(), 'threads');
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
    await server.close();
  }
});
