// Downloads that are stopped, broken, replaced, damaged, refused, or do not fit.

import assert from "node:assert/strict";
import {createReadStream} from "node:fs";
import {mkdtemp, rm} from "node:fs/promises";
import {createServer} from "node:http";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, before, beforeEach, test} from "node:test";
import {entry, files, servePage} from "./model.mjs";
import {launch, launchAt, visit} from "./visitor.mjs";

const FILE = "model.tmac2.bin";

let browser, site, visitor;
/** Another site with the model, which misbehaves as `behave(request, response)` says; `seen` are the requested ranges. */
const other = {behave: null, seen: []};

before(async () => {
  browser = await launch();
  site = await servePage();
  other.server = createServer((request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-expose-headers", "content-range, etag");
    other.seen.push(request.headers.range ?? "all");
    other.behave(request, response);
  });
  await new Promise((resolve) => other.server.listen(0, "127.0.0.1", resolve));
  other.url = `http://127.0.0.1:${other.server.address().port}/${FILE}`;
});
after(async () => {
  await browser?.close();
  await site?.close();
  other.server?.closeAllConnections();
  other.server?.close();
});
beforeEach(async () => {
  await visitor?.leave();
  other.seen = [];
  // Chromium logs every failed request.
  visitor = await visit(browser, site.url, {expected: [/Failed to load resource/]});
  await visitor.getButton().waitFor();
});

/** Sends the requested range of the model, at most `most` bytes, with `etag`. */
function send(request, response, {most = Infinity, etag = '"one"', pause = 0} = {}) {
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const headers = {etag, "content-length": entry.bytes - start};
  if (request.headers.range) headers["content-range"] = `bytes ${start}-${entry.bytes - 1}/${entry.bytes}`;
  response.writeHead(request.headers.range ? 206 : 200, headers);
  const stream = createReadStream(files.tmac2, {start, end: Math.min(start + most, entry.bytes) - 1});
  stream.on("end", () => setTimeout(() => (most < Infinity ? response.destroy() : response.end()), pause));
  stream.pipe(response, {end: false});
  response.on("close", () => stream.destroy());
}

test("a stopped download can be resumed, even on another visit", async () => {
  const {page} = visitor;
  const half = Math.floor(entry.bytes / 2);
  other.behave = (request, response) => send(request, response, {most: half, pause: 60_000});
  await visitor.download(other.url);
  await page.waitForFunction(() => document.querySelector("#downloads progress")?.value > 30e6);
  await page.getByRole("button", {name: /^Stop: Downloading/}).click();
  const row = visitor.kept().filter({hasText: "interrupted"});
  assert.match(await row.innerText(), /\d+ MB of \d+ MB, interrupted/);
  await page.reload();
  other.behave = (request, response) => send(request, response);
  await row.getByRole("button", {name: "Resume"}).click();
  await visitor.ready();
  assert.match(other.seen.at(-1), /^bytes=[1-9]\d+-$/);
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});

test("a broken connection is retried", async () => {
  let attempt = 0;
  other.behave = (request, response) => send(request, response, attempt++ === 0 ? {most: 20e6} : {});
  await visitor.download(other.url);
  await visitor.ready();
  assert.equal(other.seen[0], "all");
  assert.match(other.seen[1], /^bytes=\d+-$/);
});

test("a file that has changed is not joined to the old part", async () => {
  let attempt = 0;
  other.behave = (request, response) =>
    attempt++ === 0 ? send(request, response, {most: 20e6}) : send(request, response, {etag: '"two"'});
  await visitor.download(other.url);
  await visitor.ready();
  assert.deepEqual([other.seen[0], other.seen.at(-1)], ["all", "all"]);
});

test("a connection that stays broken leaves the part already downloaded", async () => {
  other.behave = (request, response) => (request.headers.range ? response.destroy() : send(request, response, {most: 20e6}));
  await visitor.download(other.url);
  assert.match(await visitor.notice(/connection broke/), /stored/);
  await visitor.kept().filter({hasText: "interrupted"}).getByRole("button", {name: "Discard"}).click();
  await visitor.kept().first().waitFor({state: "detached"});
  await visitor.getModel();
  visitor.calm();
});

test("a failed download is explained, and the page keeps working", async () => {
  other.behave = (_, response) => response.writeHead(404).end();
  await visitor.download(other.url);
  assert.match(await visitor.notice(/no file at this URL/), /404/);
  other.behave = (_, response) => response.writeHead(403).end();
  await visitor.download(other.url);
  await visitor.notice(/does not allow access/);
  other.behave = (_, response) => response.writeHead(200).end("<!doctype html><title>Sign in</title>");
  await visitor.download(other.url);
  await visitor.notice(/not a model file but a web page/);
  await visitor.download("http://127.0.0.1:9/model.tmac2.bin");
  await visitor.notice(/download failed: the URL is wrong/);
  assert.equal(await visitor.kept().count(), 0);
  await visitor.getModel();
  visitor.calm();
});

test("a file with the wrong checksum is refused", async (t) => {
  await visitor.leave();
  const wrong = {...entry, sha256: "0".repeat(64)};
  const damaged = await servePage({catalogue: [wrong]});
  t.after(damaged.close);
  visitor = await visit(browser, damaged.url);
  await visitor.getButton().click();
  assert.match(await visitor.notice(/checksum/), /Download it again/);
  assert.equal(await visitor.kept().count(), 0);
  visitor.calm();
});

test("without storage space, a model can still run", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "edgellm-quota-"));
  t.after(async () => {
    await visitor.leave();
    visitor = null;
    await rm(folder, {recursive: true});
  });
  await visitor.leave();
  visitor = await visit(await launchAt(folder), site.url);
  const {page, context} = visitor;
  await visitor.getButton().waitFor();
  const session = await context.newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", {origin: new URL(site.url).origin, quotaSize: 40e6});
  await visitor.getButton().click();
  assert.match(await visitor.notice(/cannot be stored/), /left for this page/);
  await page.getByRole("button", {name: "Run without storing"}).click();
  await visitor.ready();
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});
