// The page at `/` of `edgellm serve`: the server, the page, or both answer.

import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {mkdtemp, rm, writeFile} from "node:fs/promises";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {createInterface} from "node:readline";
import {after, before, test} from "node:test";
import {PROGRAM} from "../scripts/models.mjs";
import {files} from "./model.mjs";
import {launch, visit} from "./visitor.mjs";

const GREEDY = {temperature: 0, maxTokens: 24};
const QUESTION = "What is the capital of France?";

let browser, folder;
before(async () => {
  browser = await launch();
  folder = await mkdtemp(join(tmpdir(), "edgellm-serve-"));
});
after(async () => {
  await browser?.close();
  if (folder) await rm(folder, {recursive: true});
});

/** Starts a server; `stop` ends it. */
async function start(...options) {
  const args = ["serve", "--model", files.tmac2, "--port", "0", "--log-level", "warn", ...options];
  const server = spawn(PROGRAM, args, {stdio: ["ignore", "pipe", "inherit"]});
  for await (const line of createInterface({input: server.stdout})) {
    const url = /^listening on (http:\S+)$/.exec(line)?.[1];
    if (!url) continue;
    while ((await fetch(`${url}/health`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
    const ended = new Promise((resolve) => server.once("exit", resolve));
    const stop = () => {
      server.kill();
      return ended;
    };
    return {url: `${url}/`, stop};
  }
  throw new Error("the server did not start");
}

const choose = (visitor, side) => visitor.page.getByRole("radio", {name: side}).check({force: true});

test("the server answers, the page downloads its model, and both give the same answer side by side", async (t) => {
  const server = await start("--allow-download");
  t.after(server.stop);
  const visitor = await visit(browser, server.url);
  const {page} = visitor;
  await visitor.ready();
  assert.equal(await page.locator("#title").innerText(), "smollm2-135m-instruct");
  await visitor.settings(GREEDY);
  const answer = await visitor.ask(QUESTION);
  assert.match(answer, /Paris/);
  assert.match(await page.locator(".stats").last().innerText(), /^\d+ tokens · [\d.]+ tokens\/s · first after/);

  await choose(visitor, "Side by side");
  await page.getByRole("button", {name: "Get smollm2-135m-instruct"}).click();
  await page.waitForFunction(() => !document.querySelector("#prompt").disabled);
  await visitor.kept().filter({hasText: "Running"}).waitFor();
  await page.click("#new-chat");
  await visitor.ask(QUESTION);
  const both = await visitor.answers();
  assert.deepEqual(both, [answer, answer], "the page and the server compute the same");

  await choose(visitor, "This page");
  await page.click("#new-chat");
  assert.equal(await visitor.ask(QUESTION), answer);
  visitor.calm();

  await choose(visitor, "Server");
  await page.click("#new-chat");
  await server.stop();
  await visitor.say(QUESTION);
  assert.match(await page.locator(".failure").innerText(), /does not answer/);
  // The model in the page does not need the server.
  await choose(visitor, "This page");
  await page.click("#new-chat");
  assert.equal(await visitor.ask(QUESTION), answer);
  await visitor.leave();
});

test("a server with API keys: the page asks for one and keeps it only until the tab is closed", async (t) => {
  const keys = join(folder, "keys");
  await writeFile(keys, "open-sesame\n");
  const server = await start("--allow-download", "--api-key-file", keys);
  t.after(server.stop);
  const visitor = await visit(browser, server.url, {expected: [/401/]});
  const {page} = visitor;
  await page.fill("#key", "wrong");
  await page.press("#key", "Enter");
  await visitor.notice(/requires another API key/);
  await page.fill("#key", "open-sesame");
  await page.press("#key", "Enter");
  await visitor.ready();
  await visitor.settings(GREEDY);
  assert.match(await visitor.ask(QUESTION), /Paris/);
  const kept = await page.evaluate(() => JSON.stringify([{...localStorage}, document.cookie]));
  assert.ok(!kept.includes("open-sesame"));
  assert.ok(!page.url().includes("open-sesame"));
  await page.reload();
  await visitor.ready();
  // The key is also sent with the download.
  await choose(visitor, "This page");
  await page.getByRole("button", {name: "Get smollm2-135m-instruct"}).first().click();
  await visitor.kept().filter({hasText: "Running"}).waitFor();
  visitor.calm();
  await visitor.leave();
});

test("without --allow-download, no model can be downloaded", async (t) => {
  const server = await start();
  t.after(server.stop);
  const visitor = await visit(browser, server.url);
  await visitor.ready();
  assert.equal(await visitor.page.locator("#catalogue .row").count(), 0);
  visitor.calm();
  await visitor.leave();
});
