// Browsers and pages with restrictions.

import assert from "node:assert/strict";
import {after, before, test} from "node:test";
import {servePage} from "./model.mjs";
import {launch, visit} from "./visitor.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("without cross-origin isolation there is one thread, and the page says so", async (t) => {
  const site = await servePage({isolated: false});
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  await visitor.getModel();
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  assert.match(await visitor.page.locator("#meters").innerText(), /1 thread$/);
  await visitor.page.click("#about summary");
  assert.match(await visitor.page.locator("#facts").innerText(), /one thread only/);
  visitor.calm();
});

test("with cross-origin isolation there are threads", async (t) => {
  const site = await servePage();
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  await visitor.settings({threads: 2});
  await visitor.getModel();
  assert.match(await visitor.page.locator("#meters").innerText(), /2 threads$/);
  visitor.calm();
});

test("too little memory is reported, and the page keeps working", async (t) => {
  const site = await servePage();
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  await visitor.settings({memory: 64});
  await visitor.getButton().click();
  await visitor.notice(/not enough memory to/);
  // Enough for the model, and hardly more.
  await visitor.settings({memory: ""});
  await visitor.page.getByRole("button", {name: /^Load smollm2/}).click();
  await visitor.ready();
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});

test("a conversation that is too long for its context is explained, and a new one works", async (t) => {
  const site = await servePage();
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  await visitor.getModel();
  await visitor.settings({contextLength: 64, temperature: 0, maxTokens: 24});
  await visitor.say("word ".repeat(200));
  assert.match(await visitor.page.locator(".failure").innerText(), /too long for its context/);
  await visitor.page.click("#new-chat");
  await visitor.settings({contextLength: 512});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});

test("over plain HTTP from another machine nothing is stored, but a model runs", async (t) => {
  const site = await servePage();
  t.after(site.close);
  // Another host name for the same server, so that the page is not a secure context.
  const plain = await launch([`--host-resolver-rules=MAP board.test 127.0.0.1`]);
  t.after(() => plain.close());
  // Chromium warns that such a page cannot be isolated.
  const visitor = await visit(plain, site.url.replace("127.0.0.1", "board.test"), {expected: [/Cross-Origin-Opener-Policy/]});
  await visitor.getModel();
  assert.match(await visitor.page.locator("#quota").innerText(), /not stored here/);
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});
