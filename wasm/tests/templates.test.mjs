// Chat templates that nest as deep as they may, and deeper, end within half of V8's default stack, and say what they say
// natively.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..', '..');
const NATIVE = join(ROOT, 'target', process.env.EDGELLM_BUILD ?? 'release', 'examples', 'native');
const SCRIPT = join(import.meta.dirname, 'templates.mjs');

/** Before version 22, Node needs a flag for relaxed SIMD. */
const RELAXED = '--experimental-wasm-relaxed-simd';
const known = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' }).includes(RELAXED);
const OPTIONS = ['--stack-size=492', ...(known ? [RELAXED] : [])];

for (const variant of ['simd', 'relaxed']) {
  test(`nested templates are no traps in the ${variant} build`, () => {
    const module = join(ROOT, 'target', 'wasm', variant, 'edgellm_wasm_parity.wasm');
    const here = execFileSync(process.execPath, [...OPTIONS, SCRIPT, module], { encoding: 'utf8' });
    assert.equal(here, execFileSync(NATIVE, ['--templates'], { encoding: 'utf8' }));
  });
}
