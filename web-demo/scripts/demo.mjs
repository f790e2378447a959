// `npm run demo`: builds what is missing (the browser build, the edgellm program, and with it the model) and serves the page on
// http://127.0.0.1:8000; `npm run demo -- 9000` uses another port.

import {HUB, catalogue, engine, smollm2} from "./models.mjs";
import {serve} from "./serve.mjs";

engine();
const {tmac2} = smollm2();
const {url} = await serve({port: Number(process.argv[2] ?? 8000), ...(await catalogue(tmac2, HUB))});
console.log(`EdgeLLM in the browser: ${url} (Ctrl-C to stop)`);
