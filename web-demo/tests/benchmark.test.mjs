// The benchmark and its export.

import assert from "node:assert/strict";
import {readFile} from "node:fs/promises";
import {test} from "node:test";
import {servePage} from "./model.mjs";
import {launch, visit} from "./visitor.mjs";

test("the benchmark exports its results", async (t) => {
  const browser = await launch();
  t.after(() => browser.close());
  const site = await servePage();
  t.after(site.close);
  const visitor = await visit(browser, site.url);
  const {page} = visitor;
  await visitor.getModel();
  await page.click("#benchmark summary");
  await page.click("#benchmark-run");
  await page.waitForSelector("#benchmark-export:not([hidden])");
  assert.equal(await page.locator("#benchmark-table tbody tr").count(), 3);
  const saved = page.waitForEvent("download");
  await page.click("#benchmark-export");
  const result = JSON.parse(await readFile(await (await saved).path(), "utf8"));
  assert.match(result.answerHash, /^[0-9a-f]{16}$/);
  for (const spread of [result.decodeTokensPerSecond, ...Object.values(result.prefillTokensPerSecond), ...Object.values(result.ttftMs)]) {
    assert.equal(spread.all.length, 3);
    assert.ok(spread.min > 0 && spread.min <= spread.median && spread.median <= spread.max, JSON.stringify(spread));
  }
  assert.equal(result.model.quantization.format, "int4");
  // A conversation works afterwards.
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});
