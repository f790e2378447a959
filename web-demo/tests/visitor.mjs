// The page in Chromium, and the actions of its visitors.

import assert from "node:assert/strict";
import {chromium} from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** Timeout in milliseconds, long enough for a model on a busy machine. */
const PATIENCE = 60_000;

/** A browser for one test file. */
export const launch = (more = []) => chromium.launch({executablePath: CHROMIUM, args: [...ARGUMENTS, ...more]});

/** A browser with one context and its profile in `folder`: tests can set a quota only there. */
export const launchAt = (folder) => chromium.launchPersistentContext(folder, {executablePath: CHROMIUM, args: ARGUMENTS});

/**
 * A page in a browser context of its own. Errors and warnings on its console, and exceptions, fail the test in `calm`, except
 * those that match `expected`.
 */
export async function visit(browser, url, {context: options, expected = []} = {}) {
  const context = browser.newContext ? await browser.newContext(options) : browser;
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.stack ?? error.message));
  page.on("console", (message) => {
    const text = message.text();
    if (["error", "warning"].includes(message.type()) && !expected.some((known) => known.test(text))) errors.push(text);
  });
  await page.goto(url);
  return Object.assign(new Visit(), {context, page, errors});
}

/** A visitor of the page. */
class Visit {
  /** Asserts that there were no unexpected errors. */
  calm() {
    assert.deepEqual(this.errors, []);
  }

  async leave() {
    await this.context.close();
  }

  /** Waits until a model runs. */
  ready() {
    return this.page.waitForSelector("#prompt:not([disabled])");
  }

  /** The button that downloads the catalogue's model, in the middle of the page. */
  getButton() {
    return this.page.locator(".greeting").getByRole("button", {name: /^Get smollm2/});
  }

  /** Downloads and runs the catalogue's model. */
  async getModel() {
    await this.getButton().click();
    await this.ready();
  }

  /** Changes settings, by id. */
  async settings(values) {
    // The page's script creates the fields.
    await this.page.waitForFunction((ids) => ids.every((id) => document.getElementById(`set-${id}`)), Object.keys(values));
    await this.page.evaluate((wanted) => {
      document.getElementById("settings").open = true;
      for (const [id, value] of Object.entries(wanted)) {
        const input = document.getElementById(`set-${id}`);
        input.value = value;
        input.dispatchEvent(new Event("change", {bubbles: true}));
      }
    }, values);
  }

  /** Sends a message; does not wait for the answer. */
  async say(text) {
    await this.page.fill("#prompt", text);
    await this.page.press("#prompt", "Enter");
  }

  /** Waits for the answer to the last message; returns its text. */
  async answered() {
    await this.page.waitForSelector("#stop", {state: "hidden"});
    return (await this.answers()).at(-1);
  }

  async ask(text) {
    await this.say(text);
    await this.page.waitForSelector(".assistant");
    return this.answered();
  }

  /** Regenerates the last answer; returns its text. */
  async regenerate() {
    const last = this.page.locator(".assistant").last();
    await last.evaluate((answer) => answer.classList.add("old"));
    await last.getByRole("button", {name: "Regenerate"}).click();
    await this.page.waitForSelector(".assistant:not(.old)");
    return this.answered();
  }

  /** The texts of all answers. */
  answers() {
    return this.page.locator(".assistant .body").allInnerTexts();
  }

  /** Waits for a notice; returns its text. */
  async notice(pattern) {
    const notice = this.page.locator(".notice p", {hasText: pattern}).first();
    await notice.waitFor();
    return notice.innerText();
  }

  /** The rows of the stored models. */
  kept() {
    return this.page.locator("#kept .row");
  }

  /** Downloads from a URL. */
  async download(url) {
    await this.page.click("#url-button");
    await this.page.fill("#url", url);
    await this.page.press("#url", "Enter");
  }
}
