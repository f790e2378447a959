// The page: creates its parts and connects them.

import {Benchmark} from "./benchmark.js";
import {Chat} from "./chat.js";
import {byId, element} from "./element.js";
import {Engine} from "./engine.js";
import {Models} from "./models.js";
import {report} from "./notices.js";
import {Panel, askFormat} from "./panel.js";
import {Server} from "./server.js";
import {Settings} from "./settings.js";
import {readSite, workOffline} from "./site.js";
import {canKeep} from "./store.js";
import {plural, rounded, size} from "./units.js";

/** Display names of the engine's builds. */
const BUILDS = {simd: "SIMD", relaxed: "relaxed SIMD", threads: "relaxed SIMD"};

const narrow = matchMedia("(max-width: 54rem)");

/** On narrow screens the left panel is a drawer. */
function drawer() {
  const [open, close, panel, main] = [byId("panel-open"), byId("panel-close"), byId("panel"), document.querySelector("main")];
  const show = (shown, focus) => {
    document.body.classList.toggle("panel-open", shown);
    apply();
    if (focus) (shown ? close : open).focus();
  };
  const apply = () => {
    const shown = document.body.classList.contains("panel-open");
    open.setAttribute("aria-expanded", String(shown));
    panel.inert = narrow.matches && !shown;
    main.inert = narrow.matches && shown;
  };
  open.onclick = () => show(true, true);
  close.onclick = () => show(false, true);
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && narrow.matches) show(false, true);
  });
  narrow.addEventListener("change", apply);
  new MutationObserver(apply).observe(document.body, {attributeFilter: ["class"]});
  apply();
  return {open: () => show(true, true), close: () => show(false, false)};
}

/** What the page shows before there is a model. */
function welcome(panel, models, engine, {open}) {
  const [first] = panel.offers;
  const get = first && element("button", {
    type: "button",
    className: "primary",
    textContent: `Get ${first.name} (${size(first.bytes)})`,
    onclick: () => models.fromCatalogue(first),
  });
  const choose = element("button", {type: "button", textContent: "Open a file…", onclick: () => byId("file").click()});
  const more = element("button", {type: "button", className: "narrow-only", textContent: "All models", onclick: open});
  const parts = [
    element("h2", {textContent: "A language model, right here in your browser"}),
    element("p", {textContent: "It runs on your own processor. What you write stays in this page, and after the first visit it works offline."}),
  ];
  if (engine.present && !engine.features) parts.push(element("p", {className: "faint", textContent: "Loading the engine…"}));
  else if (engine.obstacle) parts.push(element("p", {className: "obstacle", textContent: engine.obstacle}));
  else {
    parts.push(element("div", {className: "choose"}, ...(get ? [get] : []), choose, more));
    parts.push(element("p", {className: "faint", textContent: "Or drop a .tmac2.bin or .gguf file anywhere; a .gguf file is quantized here first."}));
  }
  return element("section", {className: "greeting", "aria-label": "Welcome"}, ...parts);
}

/** Shows what runs and how, in the panel and below the message box. */
async function showFacts(engine) {
  const {model, features} = engine;
  const facts = [];
  if (features) {
    const build = model?.info.variant ?? features.chosen;
    facts.push(["Engine", build ? BUILDS[build] : "none"], ["Why", model?.info.reason ?? features.reason]);
    facts.push(["Processors", String(features.hardwareConcurrency)]);
    facts.push(["Cross-origin isolated", features.crossOriginIsolated ? "yes" : "no: one thread only"]);
  }
  facts.push(["Stores models", canKeep() ? "yes" : "no"]);
  let meters = "";
  if (model) {
    const {linearBytes} = await model.memory();
    const {variant, threads, kernel, quantization} = model.info;
    facts.push(["Kernels", kernel], ["Threads", String(threads)], ["Weights", `${quantization.format}, ${quantization.method}`]);
    const {quality} = quantization;
    if (quality) {
      const agreement = `${(100 * quality.sameTopToken).toFixed(1)} % the same top token`;
      facts.push(["Perplexity", `${rounded(quality.sourcePerplexity)} before and ${rounded(quality.perplexity)} after quantization; ${agreement} (${quality.text})`]);
    }
    meters = `${size(linearBytes)} of memory · ${BUILDS[variant]}, ${plural(threads, "thread")}`;
  }
  byId("meters").textContent = meters;
  byId("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {textContent: name}), element("dd", {textContent: value})]));
}

/** The form for the API key and the server's model. */
function serverForm(server) {
  const show = () => {
    const locked = server.wantsKey && !server.key;
    byId("key-section").hidden = !locked && server.models.length < 2;
    byId("key-form").hidden = !locked;
    byId("server-model-row").hidden = server.models.length < 2;
    byId("server-model").replaceChildren(
      ...server.models.map(({id}) => element("option", {value: id, textContent: id, selected: id === server.chosen})),
    );
  };
  server.addEventListener("change", show);
  byId("key-form").onsubmit = (event) => {
    event.preventDefault();
    server.key = byId("key").value;
    byId("key-form").reset();
    server.refresh().catch((error) => report(error, "reach the server"));
  };
  byId("server-model").onchange = (event) => {
    server.chosen = event.target.value;
    server.dispatchEvent(new Event("change"));
  };
}

async function start() {
  const site = await readSite();
  const settings = new Settings();
  const server = site.server && new Server(site.server);
  const engine = new Engine({present: site.engine});
  const side = drawer();
  const models = new Models(engine, settings, askFormat);
  const panel = new Panel(models, site, server);
  const chat = new Chat(engine, server, settings);
  new Benchmark(engine);
  const greet = () => {
    chat.welcome = welcome(panel, models, engine, side);
  };
  const facts = () => showFacts(engine).catch(() => {});
  engine.addEventListener("change", () => {
    facts();
    if (!engine.model) return;
    side.close();
    // Lets people type at once; on a phone this would open the keyboard.
    if (!narrow.matches && !document.activeElement.matches("input, select, textarea")) byId("prompt").focus();
  });
  // Memory grows with the conversation.
  setInterval(() => chat.busy && facts(), 1000);
  if (server) {
    serverForm(server);
    server.addEventListener("change", greet);
    await server.refresh().catch((error) => report(error, "reach the server"));
  }
  greet();
  await panel.show();
  // The engine is only cached if it is loaded through the service worker.
  await workOffline();
  try {
    await engine.start();
  } catch (error) {
    report(error, "load the engine");
  }
  greet();
  facts();
  // A link may suggest a model, but the user has to confirm the download.
  const wanted = new URLSearchParams(location.search).get("model");
  if (wanted) panel.propose(wanted);
  else await models.restore();
  await panel.show();
}

start().catch((error) => report(error, "start the page"));
