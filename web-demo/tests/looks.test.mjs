// Rendering and accessibility: hostile markdown, screen readers, keyboards, narrow windows. Needs no model.

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {readFile, readdir} from "node:fs/promises";
import {createRequire} from "node:module";
import {after, before, test} from "node:test";
import {fileURLToPath} from "node:url";
import {engine} from "../scripts/models.mjs";
import {serve} from "../scripts/serve.mjs";
import {launch, visit} from "./visitor.mjs";

const PAGE = new URL("..", import.meta.url);
let browser, site;
before(async () => {
  browser = await launch();
  engine();
  site = await serve({catalogue: [{name: "smollm2", about: "a model", licence: "MIT", url: "models/none.tmac2.bin", bytes: 1e8}]});
});
after(async () => {
  await browser?.close();
  await site?.close();
});

test("index.html lists every module, so that the service worker caches them", async () => {
  const html = await readFile(new URL("index.html", PAGE), "utf8");
  const missing = [];
  for (const folder of ["src", "vendor", "vendor/noble"]) {
    const names = (await readdir(new URL(folder, PAGE))).filter((name) => name.endsWith(".js"));
    missing.push(...names.map((name) => `${folder}/${name}`).filter((name) => !html.includes(`href="${name}"`)));
  }
  assert.deepEqual(missing, []);
});

test("the libraries in vendor/ are those of package-lock.json", () => {
  execFileSync(process.execPath, [fileURLToPath(new URL("scripts/vendor.mjs", PAGE)), "--check"], {stdio: "inherit"});
});

/** Markdown and the expected HTML. */
const MARKDOWN = [
  ["**a** *b* `c` ~~d~~", "<p><strong>a</strong> <em>b</em> <code>c</code> <del>d</del></p>"],
  ["# T", "<h4>T</h4>"],
  ["- a\n- b\n  1. c", "<ul><li>a</li><li>b<ol><li>c</li></ol></li></ul>"],
  ["> q\n\n---", "<blockquote><p>q</p></blockquote><hr>"],
  ["a &amp; b &lt;i&gt; &#65;", "<p>a &amp; b &lt;i&gt; A</p>"],
  ["<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"],
  ["<img src=x onerror=alert(1)> text", "<p>&lt;img src=x onerror=alert(1)&gt; text</p>"],
  ["a <b onclick=alert(1)>b</b>", "<p>a &lt;b onclick=alert(1)&gt;b&lt;/b&gt;</p>"],
  ["[x](javascript:alert(1))", "<p><span>x</span></p>"],
  ["[x](JaVaScRiPt&#58;alert(1))", "<p><span>x</span></p>"],
  ["[x](data:text/html,<script>)", "<p><span>x</span></p>"],
  ["[x](/relative)", "<p><span>x</span></p>"],
  ["[x](https://e.org/)", '<p><a rel="noopener noreferrer" target="_blank" href="https://e.org/">x</a></p>'],
  ["![x](https://e.org/a.png)", '<p><a rel="noopener noreferrer" target="_blank" href="https://e.org/a.png">x</a></p>'],
  ["```\n<b>", /<pre[^>]*><code>&lt;b&gt;<\/code><\/pre>/],
];

test("a model's markdown is rendered as elements, and its HTML stays text", async () => {
  const visitor = await visit(browser, site.url);
  for (const [source, expected] of MARKDOWN) {
    const html = await visitor.page.evaluate(async (text) => {
      const {render} = await import("/src/markdown.js");
      const target = document.createElement("div");
      // While streaming, every prefix is rendered too.
      for (let end = 1; end <= text.length; end++) render(text.slice(0, end), target);
      const whole = document.createElement("div");
      render(text, whole);
      if (whole.innerHTML !== target.innerHTML) throw new Error(`${text}: ${target.innerHTML} in pieces`);
      const sorted = whole.querySelectorAll("a");
      for (const link of sorted) {
        const {href} = link;
        link.removeAttribute("href");
        link.setAttribute("href", href);
      }
      return whole.innerHTML;
    }, source);
    if (expected instanceof RegExp) assert.match(html, expected);
    else assert.equal(html, expected);
  }
  visitor.calm();
  await visitor.leave();
});

test("markdown that nests without end is shown as it is", async () => {
  const visitor = await visit(browser, site.url);
  for (const part of ["> ", "- ", "> - "]) {
    const shown = await visitor.page.evaluate(async (part) => {
      const {render} = await import("/src/markdown.js");
      return [10, 5000].map((count) => {
        const target = document.createElement("div");
        const text = part.repeat(count) + "a";
        render(text, target);
        const plain = target.firstElementChild.tagName === "PRE" && target.textContent === text;
        render("*a*", target);
        return [plain, target.innerHTML];
      });
    }, part);
    assert.deepEqual(shown, [[false, "<p><em>a</em></p>"], [true, "<p><em>a</em></p>"]], part);
  }
  visitor.calm();
  await visitor.leave();
});

for (const colorScheme of ["light", "dark"]) {
  for (const [name, viewport] of Object.entries({desktop: {width: 1200, height: 800}, phone: {width: 360, height: 740}})) {
    test(`${name}, ${colorScheme}: no accessibility violations, no horizontal overflow`, async () => {
      const visitor = await visit(browser, site.url, {context: {colorScheme, viewport, reducedMotion: "reduce"}});
      const {page} = visitor;
      await visitor.getButton().waitFor();
      await check(page);
      if (name === "phone") await page.getByRole("button", {name: "Models and settings"}).click();
      await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
      await check(page);
      visitor.calm();
      await visitor.leave();
    });
  }
}

/** Runs axe and looks for horizontal overflow. */
async function check(page) {
  // Injected by the debugger, so that the page's content security policy still applies.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const {violations} = await page.evaluate(() => axe.run());
  assert.deepEqual(violations.map(({id, nodes}) => [id, nodes.map((node) => node.html)]), []);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than the window");
}

test("everything works with the keyboard, and the drawer on a phone traps the focus", async () => {
  const visitor = await visit(browser, site.url, {context: {viewport: {width: 360, height: 740}}});
  const {page} = visitor;
  await visitor.getButton().waitFor();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent.trim());
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the message box");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Models and settings");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "Close models and settings");
  const reached = new Set();
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press("Tab");
    reached.add(await focused());
  }
  for (const wanted of ["Open a file…", "From a URL…", "Settings", "Benchmark"]) assert.ok(reached.has(wanted), `${wanted}: ${[...reached]}`);
  assert.ok(!reached.has("New chat"), "what the drawer covers cannot be reached");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Escape");
  assert.equal(await focused(), "Models and settings");
  visitor.calm();
  await visitor.leave();
});
