// Runs in a page of its own: the time from page load to the first token of an answer, with the model in the origin's
// private file system, where the first visit stores it.

import { Model } from '/edgellm-web/index.js';

const folder = await navigator.storage.getDirectory();
const stored = await folder.getFileHandle('model.tmac2.bin').catch(() => undefined);
if (stored) {
  const model = await Model.fromFile(await stored.getFile());
  const loaded = performance.now();
  const session = await model.session();
  const question = [{ role: 'user', content: 'What is the capital of France?' }];
  for await (const _ of session.generate(question, { temperature: 0 })) break;
  globalThis.start = { variant: model.info.variant, loadedMs: loaded, firstTokenMs: performance.now() };
  model.close();
} else {
  const handle = await folder.getFileHandle('model.tmac2.bin', { create: true });
  await (await fetch('/models/start')).body.pipeTo(await handle.createWritable());
  globalThis.start = 'stored';
}
