// Browsers and pages that allow less.

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

test("with it, there are threads", async (t) => {
  const site = await servePage();
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  await visitor.settings({threads: 2});
  await visitor.getModel();
  assert.match(await visitor.page.locator("#meters").innerText(), /2 threads$/);
  visitor.calm();
});

test("too little memory is said, and the page goes on", async (t) => {
  const site = await servePage();
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  await visitor.settings({memory: 64});
  await visitor.getButton().click();
  await visitor.notice(/not enough memory to/);
  // Room for the model, and for hardly more.
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

test("over plain HTTP from elsewhere nothing is kept, and a model runs all the same", async (t) => {
  const site = await servePage();
  t.after(site.close);
  // A name that is not this machine's, for the same server: then the page has no secure context.
  const plain = await launch([`--host-resolver-rules=MAP board.test 127.0.0.1`]);
  t.after(() => plain.close());
  // Chromium says that such a page cannot be isolated.
  const visitor = await visit(plain, site.url.replace("127.0.0.1", "board.test"), {expected: [/Cross-Origin-Opener-Policy/]});
  await visitor.getModel();
  assert.match(await visitor.page.locator("#quota").innerText(), /not kept here/);
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});
