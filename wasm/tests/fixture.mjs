// What all browser tests share: Chromium, the package, and the real model.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { serve } from './server.mjs';

export const ROOT = join(import.meta.dirname, '..', '..');
/** The npm package, made by scripts/build-web. */
export const PACKAGE = join(ROOT, 'target', 'edgellm-web');

/** Debian's Chromium; EDGELLM_CHROMIUM names another one. */
const CHROMIUM = process.env.EDGELLM_CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A browser of its own for a test file. */
export const launch = (...more) =>
  chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...ARGUMENTS, ...more] });

/** Where the programs are; scripts/test builds them in the profile that EDGELLM_BUILD names. */
export const BUILD = join(ROOT, 'target', process.env.EDGELLM_BUILD ?? 'release');
const PROGRAM = join(BUILD, 'edgellm');

/** SmolLM2-135M-Instruct as it was published, Q4_1 in GGUF. */
export function gguf() {
  const script = join(ROOT, 'scripts', 'reference', 'sources.py');
  const python = join(ROOT, '.venv', 'bin', 'python');
  return execFileSync(python, [script, 'smollm2-135m-instruct'], { encoding: 'utf8' }).trim();
}

/** The same as .tmac2.bin, converted once by the program as it is. */
export function model(format = 'int4') {
  const path = join(ROOT, 'target', 'browser', `smollm2-135m-instruct.${format}.tmac2.bin`);
  if (existsSync(path) && statSync(path).mtimeMs > statSync(PROGRAM).mtimeMs) return path;
  mkdirSync(join(path, '..'), { recursive: true });
  const draft = `${path}.${process.pid}`;
  execFileSync(PROGRAM, ['quantize', '--input', gguf(), '--format', format, '--output', draft, '--calibration', 'none', '--skip-quality']);
  renameSync(draft, path);
  return path;
}

/** A server with the package at /edgellm-web/ and an empty page at /. */
export function servePackage(options = {}) {
  return serve({
    ...options,
    roots: { '/edgellm-web/': PACKAGE, ...options.roots },
    routes: {
      '/': (request, response) => {
        response.setHeader('content-type', 'text/html');
        response.end('<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>test</title>');
      },
      ...options.routes,
    },
  });
}

/**
 * An open page in which `edgellm` is the package, and a list of the errors that its console shows. A test calls
 * `page.evaluate`, which runs in the page.
 */
export async function openPage(browser, url) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(`${url}/`);
  await page.evaluate(async () => {
    globalThis.edgellm = await import('/edgellm-web/index.js');
  });
  return { page, errors, close: () => context.close() };
}
