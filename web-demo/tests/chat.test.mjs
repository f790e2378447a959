// A first visit: download a model, chat, stop, regenerate, and come back offline.

import assert from "node:assert/strict";
import {after, before, test} from "node:test";
import {entry, servePage} from "./model.mjs";
import {launch, visit} from "./visitor.mjs";

const GREEDY = {temperature: 0, maxTokens: 24};
/** Maximum time from opening the page to the first token with a stored model, as a multiple of what the engine takes for it. */
const FIRST_TOKEN = 3;

let browser, site, visitor, first;
before(async () => {
  browser = await launch();
  site = await servePage();
  visitor = await visit(browser, site.url);
});
after(async () => {
  await browser?.close();
  await site?.close();
});

test("a model of the catalogue is downloaded, stored and answers", async () => {
  await visitor.getModel();
  assert.match(await visitor.kept().first().innerText(), new RegExp(`${entry.name}.*Running`, "s"));
  await visitor.settings(GREEDY);
  first = await visitor.ask("What is the capital of France?");
  assert.match(first, /Paris/);
  assert.match(await visitor.page.locator(".stats").last().innerText(), /^\d+ tokens · [\d.]+ tokens\/s · first after/);
  assert.match(await visitor.page.locator("#meters").innerText(), /MB of memory · relaxed SIMD, \d+ thread/);
  visitor.calm();
});

test("the next turn uses the cached conversation", async () => {
  await visitor.ask("And of Italy?");
  const stats = await visitor.page.locator(".stats").last().innerText();
  const [, prompt, known] = /prompt of (\d+), (\d+) cached/.exec(stats) ?? assert.fail(stats);
  assert.ok(Number(known) > Number(prompt) / 2, stats);
});

test("stop ends an answer, and the next one works", async () => {
  const {page} = visitor;
  await visitor.settings({maxTokens: 2000});
  await visitor.say("Write a very long story about a ship.");
  await page.waitForFunction(() => [...document.querySelectorAll(".stats")].at(-1)?.textContent.includes("tokens/s"));
  await page.click("#stop");
  await visitor.answered();
  assert.match(await page.locator(".stats").last().innerText(), /stopped/);
  assert.ok(await page.locator("#prompt").evaluate((prompt) => prompt === document.activeElement), "focus is back in the box");
  await visitor.say("Another one.");
  await page.waitForFunction(() => [...document.querySelectorAll(".stats")].at(-1)?.textContent.includes("tokens/s"));
  await page.keyboard.press("Escape");
  await visitor.answered();
  assert.match(await page.locator(".stats").last().innerText(), /stopped/);
});

test("regenerate replaces the last answer, with the same one if greedy", async () => {
  const {page} = visitor;
  await page.click("#new-chat");
  await visitor.settings(GREEDY);
  assert.equal(await visitor.ask("What is the capital of France?"), first);
  assert.equal(await visitor.regenerate(), first);
  assert.equal((await visitor.answers()).length, 1);
  await visitor.settings({temperature: 1.5, seed: 7});
  assert.notEqual(await visitor.regenerate(), first);
  visitor.calm();
});

test("a system prompt comes first", async () => {
  const promptTokens = async (system) => {
    await visitor.page.click("#new-chat");
    await visitor.settings({...GREEDY, system});
    await visitor.ask("What is the capital of France?");
    return Number(/prompt of (\d+)/.exec(await visitor.page.locator(".stats").last().innerText())[1]);
  };
  const [long, short] = [await promptTokens("You are a pirate. ".repeat(10)), await promptTokens("You are a pirate.")];
  // 9 times "You are a pirate. ", of four or five tokens.
  assert.ok(long - short >= 36, `${long} and ${short} tokens`);
  await visitor.settings({system: ""});
});

test("without its server, the page loads with its model, and quickly", async () => {
  const {page} = visitor;
  await site.close();
  await page.addInitScript(() => {
    // On the page's own clock: from navigation to the first text of an answer.
    new MutationObserver((_, observer) => {
      if (!document.querySelector(".assistant .body")?.innerText) return;
      window.firstToken = performance.now();
      observer.disconnect();
    }).observe(document, {subtree: true, childList: true, characterData: true});
    const ask = new MutationObserver(() => {
      const prompt = document.getElementById("prompt");
      if (!prompt || prompt.disabled) return;
      ask.disconnect();
      prompt.value = "What is the capital of France?";
      document.getElementById("composer").requestSubmit();
    });
    ask.observe(document, {subtree: true, childList: true, attributes: true});
  });
  const [times, engine] = [[], []];
  for (let round = 0; round < 3; round++) {
    await page.reload();
    await page.waitForFunction(() => window.firstToken);
    times.push(await page.evaluate(() => Math.round(window.firstToken)));
    assert.equal(await visitor.answered(), first);
    engine.push(await page.evaluate(engineAlone, `${entry.name}.tmac2.bin`));
  }
  const found = `page load to first token, model kept, server stopped: ${times.join(", ")} ms; the engine alone: ${engine.join(", ")} ms`;
  console.log(found);
  assert.ok(Math.min(...times) < FIRST_TOKEN * Math.min(...engine), found);
  visitor.calm();
});

/** Milliseconds from the stored file to the first token, without the page around it. Runs in the page. */
async function engineAlone(name) {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
  const file = await (await folder.getFileHandle(name)).getFile();
  const {Model} = await import("/engine/index.js");
  const begin = performance.now();
  const model = await Model.fromFile(file);
  const session = await model.session();
  await session.generate([{role: "user", content: "What is the capital of France?"}], {maxTokens: 1}).result;
  model.close();
  return Math.round(performance.now() - begin);
}

test("a stored model can be deleted", async () => {
  const {page} = visitor;
  await page.getByRole("button", {name: `Delete ${entry.name}.tmac2.bin`}).click();
  await visitor.kept().first().waitFor({state: "detached"});
  assert.equal(await page.evaluate(async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    return (await Array.fromAsync(folder.keys())).length;
  }), 0);
});
