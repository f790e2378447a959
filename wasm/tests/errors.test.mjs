// What is wrong with a file or a download is said in a sentence, and the page goes on working.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, beforeEach, test } from 'node:test';
import { gguf, launch, model, openPage, servePackage } from './fixture.mjs';

let browser;
let server;
let whole;
let page;
before(async () => {
  browser = await launch();
  whole = readFileSync(model());
  server = await servePackage({ roots: { '/model.tmac2.bin': model(), '/model.gguf': gguf() } });
  const serveBytes = (bytes) => (request, response) => response.end(bytes);
  server.routes['/half'] = serveBytes(whole.subarray(0, whole.length / 2));
  server.routes['/longer'] = serveBytes(Buffer.concat([whole, Buffer.from('more')]));
  server.routes['/empty'] = serveBytes(Buffer.alloc(0));
  server.routes['/page'] = serveBytes('<!doctype html><title>Sign in</title>');
  server.routes['/text'] = serveBytes('hi');
  server.routes['/cut'] = (request, response) => {
    response.setHeader('content-length', whole.length);
    response.write(whole.subarray(0, 10_000_000), () => response.destroy());
  };
  server.routes['/slow'] = (request, response) => {
    response.setHeader('content-length', whole.length);
    response.write(whole.subarray(0, 1_000_000));
  };
  const damaged = Buffer.from(whole);
  damaged[whole.length - 1000] ^= 1;
  server.routes['/damaged'] = serveBytes(damaged);
  const version = Buffer.from(whole);
  version[8] = 9;
  server.routes['/version'] = serveBytes(version);
});
after(async () => {
  await browser?.close();
  await server?.close();
});
beforeEach(async () => {
  await page?.context().close();
  ({ page } = await openPage(browser, server.url));
});

const load = (url, options) =>
  page.evaluate(
    ([url, options]) =>
      edgellm.Model.fromUrl(url, options).then(
        () => ({ code: 'none' }),
        ({ name, code, message, status }) => ({ name, code, message, status }),
      ),
    [url, options],
  );

for (const [url, code, message] of [
  ['/empty', 'not_a_model', /not a model file/],
  ['/text', 'not_a_model', /not a model file/],
  ['/page', 'not_a_model', /not a model file but a web page/],
  ['/model.gguf', 'gguf', /convert it/],
  ['/half', 'damaged', /bytes long where it should be/],
  ['/longer', 'damaged', /bytes long where it should be/],
  ['/damaged', 'damaged', /is damaged: its checksum/],
  ['/version', 'damaged', /format version 9/],
  ['/cut', 'download', /broke off after \d+ of \d+ MB/],
  ['/nowhere', 'download', /status 404/],
  ['http://127.0.0.1:9/', 'download', /cannot be reached/],
]) {
  test(`${url}: ${code}`, async () => {
    const error = await load(url);
    assert.equal(error.name, 'EdgeLlmError');
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    if (url === '/nowhere') assert.equal(error.status, 404);
    // The page is none the worse for it.
    assert.equal((await load('/model.tmac2.bin')).code, 'none');
  });
}

test('a load is ended by its signal', async () => {
  const found = await page.evaluate(async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    const name = await edgellm.Model.fromUrl('/slow', { signal: controller.signal, onProgress }).catch(
      ({ name }) => name,
    );
    const before = await edgellm.Model.fromUrl('/slow', { signal: AbortSignal.abort('no') }).catch((reason) => reason);
    return [name, before];
  });
  assert.deepEqual(found, ['AbortError', 'no']);
});

test('a stream that breaks, and one of the wrong kind', async () => {
  const found = await page.evaluate(async () => {
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('cable cut')) });
    const code = ({ code, message }) => `${code}: ${message}`;
    return [await edgellm.Model.fromBytes(broken).catch(code), await edgellm.Model.fromBytes(new Uint8Array(9)).catch(code)];
  });
  assert.match(found[0], /^download: .*cable cut/);
  assert.match(found[1], /^not_a_model: /);
});

test('what is no file, and a stream of something else than bytes', async () => {
  const found = await page.evaluate(async () => {
    const numbers = new ReadableStream({ start: (controller) => controller.enqueue(new Uint16Array(9)) });
    const code = ({ code, message }) => `${code}: ${message}`;
    return [
      await edgellm.Model.fromFile('model.tmac2.bin').catch(code),
      await edgellm.Model.fromFile(null).catch(code),
      await edgellm.Model.fromBytes(numbers).catch(code),
    ];
  });
  assert.match(found[0], /^invalid: .*File/);
  assert.match(found[1], /^invalid: .*File/);
  assert.match(found[2], /^download: .*Uint8Array/);
});

test('a browser without SIMD is told to update', async () => {
  const error = await page.evaluate(async () => {
    // As an engine without SIMD answers: modules with its instructions are not valid.
    WebAssembly.validate = () => false;
    return edgellm.Model.fromUrl('/model.tmac2.bin').catch(({ code, message }) => ({ code, message }));
  });
  assert.equal(error.code, 'unsupported');
  assert.match(error.message, /no WebAssembly SIMD.*update/);
});

test('an engine that cannot be loaded', async () => {
  server.routes['/edgellm-web/simd/edgellm_bg.wasm'] = (request, response) => response.writeHead(404).end();
  const missing = await load('/model.tmac2.bin', { variant: 'simd' });
  server.routes['/edgellm-web/simd/edgellm_bg.wasm'] = (request, response) => response.end('not a module');
  const wrong = await load('/model.tmac2.bin', { variant: 'simd' });
  delete server.routes['/edgellm-web/simd/edgellm_bg.wasm'];
  assert.equal(missing.code, 'engine');
  assert.match(missing.message, /edgellm_bg.wasm: HTTP status 404/);
  assert.equal(wrong.code, 'engine');
});
