// GGUF to .tmac2.bin in the page: the same bytes that the program writes.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { gguf, launch, model, openPage, servePackage } from './fixture.mjs';

let browser;
let server;
let page;
before(async () => {
  browser = await launch();
  server = await servePackage({ roots: { '/model.gguf': gguf(), '/model.tmac2.bin': model() } });
  const whole = readFileSync(gguf());
  server.routes['/half.gguf'] = (request, response) => response.end(whole.subarray(0, whole.length / 2));
  ({ page } = await openPage(browser, server.url));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

for (const format of ['int4', 'bitnet']) {
  test(`${format}: the file of the program, and it runs`, async () => {
    // The program calls a model as its file or catalogue entry is called.
    const file = readFileSync(model(format));
    const { name } = JSON.parse(file.subarray(32, 32 + Number(file.readBigUInt64LE(16))));
    const found = await page.evaluate(async ([format, name]) => {
      const source = await (await fetch('/model.gguf')).blob();
      const steps = [];
      const { file, ...report } = await edgellm.quantize(source, { name, format, onProgress: (step) => steps.push(step) });
      const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
      const sha256 = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      const model = await edgellm.Model.fromFile(file);
      const session = await model.session();
      const { timings } = await session.generate('The sea is', { maxTokens: 5, ignoreEos: true }).result;
      model.close();
      return { sha256, report, steps, tokens: timings.generatedTokens };
    }, [format, name]);
    assert.equal(found.sha256, createHash('sha256').update(file).digest('hex'));
    assert.equal(found.tokens, 5);
    assert.equal(found.report.parameters, 134515008);
    assert.equal(found.report.warnings.length > 0, format === 'bitnet', found.report.warnings.join());
    assert.ok(found.report.bitsPerWeight > 2 && found.report.bitsPerWeight < 7);
    for (const stage of ['read', 'convert']) {
      const last = found.steps.filter((step) => step.stage === stage).at(-1);
      assert.equal(last.done, last.total, stage);
    }
  });
}

test('six-bit scales take fewer bytes', async () => {
  const bits = await page.evaluate(async () => {
    const source = await (await fetch('/model.gguf')).blob();
    return (await edgellm.quantize(source, { format: 'int4', scales: 'six' })).bitsPerWeight;
  });
  // 5.84 with the source's own codes and halves.
  assert.ok(bits > 5.3 && bits < 5.5, `${bits}`);
});

test('what cannot be converted is told, and a conversion can be ended', async () => {
  const found = await page.evaluate(async () => {
    const code = ({ code, name, message }) => ({ code, name, message });
    const blob = async (url) => (await fetch(url)).blob();
    const controller = new AbortController();
    const onProgress = ({ stage }) => stage === 'convert' && controller.abort();
    return {
      foreign: await edgellm.quantize(await blob('/model.tmac2.bin')).catch(code),
      half: await edgellm.quantize(await blob('/half.gguf')).catch(code),
      format: await edgellm.quantize(await blob('/model.gguf'), { format: 'int7' }).catch(code),
      scales: await edgellm.quantize(await blob('/model.gguf'), { scales: 'four' }).catch(code),
      memory: await edgellm.quantize(await blob('/model.gguf'), { memoryLimit: 50e6 }).catch(code),
      aborted: await edgellm
        .quantize(await blob('/model.gguf'), { signal: controller.signal, onProgress })
        .catch(code),
    };
  });
  assert.equal(found.foreign.code, 'not_a_model');
  assert.equal(found.half.code, 'damaged', found.half.message);
  assert.equal(found.format.code, 'invalid');
  assert.match(found.format.message, /int7/);
  assert.equal(found.scales.code, 'invalid');
  assert.match(found.scales.message, /four.*halves and six/);
  assert.equal(found.memory.code, 'out_of_memory');
  assert.equal(found.aborted.name, 'AbortError');
});
