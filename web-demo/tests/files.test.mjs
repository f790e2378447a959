// Files from the disk: models, GGUF files to quantize, and files that are neither.

import assert from "node:assert/strict";
import {createHash} from "node:crypto";
import {createReadStream} from "node:fs";
import {mkdtemp, open, rm, writeFile} from "node:fs/promises";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, before, test} from "node:test";
import {entry, files, servePage} from "./model.mjs";
import {launch, visit} from "./visitor.mjs";

let browser, site, visitor, folder;
before(async () => {
  browser = await launch();
  site = await servePage();
  visitor = await visit(browser, site.url);
  // Until the engine is there the page opens no model, and says so.
  await visitor.page.getByText("Cross-origin isolated").first().waitFor({state: "attached"});
  folder = await mkdtemp(join(tmpdir(), "edgellm-files-"));
});
after(async () => {
  await browser?.close();
  await site?.close();
  if (folder) await rm(folder, {recursive: true});
});

const choose = (path) => visitor.page.setInputFiles("#file", path);

/** A file with the first bytes of the model. */
async function beginning(name, length) {
  const source = await open(files.tmac2);
  const bytes = Buffer.alloc(length);
  await source.read(bytes, 0, length, 0);
  await source.close();
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

test("files that are not models are recognized", async () => {
  const cases = {
    "picture.bin": [Buffer.from("\x89PNG\r\n\x1a\n and more", "latin1"), /picture/],
    "page.bin": ["<html>not a model</html>", /web page/],
    "empty.bin": ["", /empty/],
    "text.gguf": ["hello, world, how are you", /file of another kind/],
  };
  for (const [name, [content, pattern]] of Object.entries(cases)) {
    await writeFile(join(folder, name), content);
    await choose(join(folder, name));
    assert.match(await visitor.notice(new RegExp(name)), pattern);
  }
  visitor.calm();
});

test("a truncated and a damaged model are refused with an explanation", async () => {
  await choose(await beginning("truncated.tmac2.bin", 1_000_000));
  await visitor.notice(/truncated\.tmac2\.bin: .*1000000 bytes long/);
  await choose(await beginning("header-only.tmac2.bin", 20));
  await visitor.notice(/header-only\.tmac2\.bin: /);
  const whole = await beginning("damaged.tmac2.bin", entry.bytes);
  const damaged = await open(whole, "r+");
  await damaged.write(Buffer.from([1, 2, 3, 4]), 0, 4, entry.bytes >> 1);
  await damaged.close();
  await choose(whole);
  await visitor.notice(/damaged\.tmac2\.bin: .*checksum/);
  await rm(whole);
  assert.equal(await visitor.kept().count(), 0);
  visitor.calm();
});

test("a broken GGUF file is refused with an explanation", async () => {
  await writeFile(join(folder, "broken.gguf"), Buffer.concat([Buffer.from("GGUF"), Buffer.alloc(4000, 7)]));
  await choose(join(folder, "broken.gguf"));
  await visitor.page.getByRole("button", {name: "Quantize"}).click();
  await visitor.notice(/Could not open the file/);
  visitor.calm();
});

test("a model from the disk runs and is stored", async () => {
  await choose(files.tmac2);
  await visitor.ready();
  await visitor.settings({temperature: 0, maxTokens: 24});
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  await visitor.kept().filter({hasText: "Running"}).waitFor();
});

test("a GGUF file dropped on the page becomes the same model", async () => {
  const {page} = visitor;
  // A drop event with the file of a file input.
  await page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), {type: "file", id: "carrier"})));
  await page.setInputFiles("#carrier", files.gguf);
  await page.evaluate(() => {
    const carrier = document.getElementById("carrier");
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(carrier.files[0]);
    carrier.remove();
    for (const type of ["dragover", "drop"]) dispatchEvent(new DragEvent(type, {dataTransfer, bubbles: true, cancelable: true}));
  });
  assert.equal(await page.getByLabel("Bits per weight").inputValue(), "auto");
  await page.getByLabel("Bits per weight").selectOption("int4");
  await page.getByRole("button", {name: "Quantize"}).click();
  await visitor.notice(/is now .*-int4\.tmac2\.bin/);
  const saved = page.waitForEvent("download");
  await page.getByRole("button", {name: "Save the file"}).click();
  const path = await (await saved).path();
  assert.equal(await sha256(path), entry.sha256, "the page's file is the program's, byte for byte");
  assert.match(await (await saved).suggestedFilename(), /-int4\.tmac2\.bin$/);
  await visitor.ready();
  assert.match(await visitor.ask("What is the capital of France?"), /Paris/);
  visitor.calm();
});

async function sha256(path) {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest("hex");
}
