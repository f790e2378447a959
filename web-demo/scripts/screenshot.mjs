// `npm run screenshot`: a finished chat with SmolLM2-135M, light and dark, as docs/images/web-demo*.png.

import {mkdir} from "node:fs/promises";
import {fileURLToPath} from "node:url";
import {servePage} from "../tests/model.mjs";
import {launch, visit} from "../tests/visitor.mjs";

const IMAGES = new URL("../../docs/images/", import.meta.url);
await mkdir(IMAGES, {recursive: true});
const browser = await launch();
const site = await servePage();
for (const [name, options] of Object.entries({
  "web-demo.png": {colorScheme: "light", viewport: {width: 1000, height: 680}},
  "web-demo-phone.png": {colorScheme: "dark", viewport: {width: 360, height: 680}},
})) {
  const visitor = await visit(browser, site.url, {context: {...options, reducedMotion: "reduce"}});
  await visitor.getModel();
  await visitor.settings({temperature: 0, maxTokens: 160});
  await visitor.page.evaluate(() => (document.getElementById("settings").open = false));
  await visitor.ask("Explain in three short points why the sky is blue.");
  await visitor.page.screenshot({path: fileURLToPath(new URL(name, IMAGES))});
  visitor.calm();
  await visitor.leave();
}
await browser.close();
await site.close();
