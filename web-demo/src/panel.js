// The list of models on the left: stored models, the catalogue, and the forms to add others.

import {byId, element} from "./element.js";
import {save} from "./models.js";
import {report} from "./notices.js";
import * as store from "./store.js";
import {size} from "./units.js";

/** Shows the models. `server` is null on a static site. */
export class Panel {
  #turn = 0;

  constructor(models, site, server) {
    this.models = models;
    this.catalogue = site.catalogue;
    this.server = server;
    for (const changing of [models, models.engine, server]) changing?.addEventListener("change", () => this.show());
    this.#choosers();
    this.#drop();
  }

  /** The models to download: those of the catalogue, and those of the server if it allows downloads. */
  get offers() {
    const served = (this.server?.models ?? [])
      .filter(({bytes}) => bytes)
      .map(({id, bytes}) => ({name: id, about: "from this server", url: `v1/models/${encodeURIComponent(id)}/file`, bytes, headers: this.server.headers}));
    return [...this.catalogue, ...served];
  }

  /** Updates the lists. */
  async show() {
    const turn = ++this.#turn;
    try {
      const kept = await store.list();
      const quota = await this.#quota();
      // A later change shows everything.
      if (turn !== this.#turn) return;
      const focused = document.activeElement.closest(".rows");
      byId("kept").replaceChildren(...kept.map((row) => (row.part ? this.#partRow(row) : this.#keptRow(row))));
      const names = new Set(kept.map(({name}) => name.replace(/\.(tmac2\.bin|gguf)$/, "")));
      const offers = this.offers.filter(({name}) => !names.has(store.fileName(name)));
      byId("catalogue").replaceChildren(...offers.map((entry) => this.#offerRow(entry)));
      byId("quota").textContent = quota;
      // The focused button is gone: focus one nearby.
      if (focused) byId("file-button").focus({preventScroll: true});
    } catch (error) {
      report(error, "list the stored models");
    }
  }

  async #quota() {
    const room = await store.quota();
    if (!room) return "Models are not stored here: browsers only store files for pages served over HTTPS or from this machine.";
    if (room.usage < 1e6) return `The browser allows this page to store ${size(room.quota)}.`;
    return `${size(room.usage)} stored of ${size(room.quota)} that the browser allows${room.persisted ? "" : "; it may delete them when the disk is full"}.`;
  }

  #keptRow({name, bytes}) {
    const {models} = this;
    const running = models.current === name && models.engine.model;
    const load = button(running ? "Running" : "Load", `Load ${name}`, () => models.fromKept(name));
    load.disabled = Boolean(running || models.engine.obstacle);
    const more = [
      button("Save", `Save ${name} as a file`, async () => save(await store.open(name), name)),
      button("Delete", `Delete ${name}`, () => models.remove(name)),
    ];
    return row(name, size(bytes), running ? "row running" : "row", load, ...more);
  }

  #partRow(part) {
    const {name, bytes, origin} = part;
    const of = origin?.total ? ` of ${size(origin.total)}` : "";
    const goOn = origin && button("Resume", `Resume the download of ${name}`, () => this.models.resume(part, this.#headersFor(origin.url)));
    const discard = button("Discard", `Discard ${name}`, () => this.models.remove(name));
    return row(name, `${size(bytes)}${of}, interrupted`, "row", ...(goOn ? [goOn] : []), discard);
  }

  /** Headers for a download: only the server itself gets its API key. */
  #headersFor(url) {
    return this.server && url.startsWith(new URL("v1/", document.baseURI).href) ? this.server.headers : undefined;
  }

  #offerRow(entry) {
    const about = [entry.bytes && size(entry.bytes), entry.about, entry.licence].filter(Boolean).join(" · ");
    const get = button("Get", `Get ${entry.name}`, () => this.models.fromCatalogue(entry));
    get.className = "primary";
    return row(entry.name, about, "row", get);
  }

  #choosers() {
    const file = byId("file");
    byId("file-button").onclick = () => file.click();
    file.onchange = () => {
      if (file.files.length) this.models.fromFile(file.files[0]);
      file.value = "";
    };
    const form = byId("url-form");
    const opener = byId("url-button");
    opener.onclick = () => {
      form.hidden = !form.hidden;
      opener.setAttribute("aria-expanded", String(!form.hidden));
      if (!form.hidden) byId("url").focus();
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      form.hidden = true;
      opener.setAttribute("aria-expanded", "false");
      this.models.fromUrl(byId("url").value);
      form.reset();
    };
  }

  /** Fills in a URL for the user to confirm. */
  propose(url) {
    document.body.classList.add("panel-open");
    if (byId("url-form").hidden) byId("url-button").click();
    byId("url").value = url;
    byId("url-form").querySelector("button").focus();
  }

  #drop() {
    const cover = byId("drop");
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      cover.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) cover.hidden = true;
    });
    addEventListener("drop", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      cover.hidden = true;
      const [file] = event.dataTransfer.files;
      if (file) this.models.fromFile(file);
    });
  }
}

function button(text, label, onclick) {
  return element("button", {type: "button", textContent: text, "aria-label": label, onclick});
}

function row(name, about, className, ...buttons) {
  const text = element("div", {className: "row-text"}, element("strong", {textContent: name}), element("span", {className: "faint", textContent: about}));
  return element("li", {className}, text, element("div", {className: "row-buttons"}, ...buttons));
}

/** Asks in the panel for the format to quantize a GGUF file to; null if cancelled. */
export function askFormat(name, signal) {
  const form = byId("quantize-form");
  byId("quantize-name").textContent = name;
  form.hidden = false;
  document.body.classList.add("panel-open");
  byId("quantize-format").focus();
  return new Promise((resolve) => {
    const end = (format) => {
      form.hidden = true;
      resolve(format);
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      end(byId("quantize-format").value);
    };
    byId("quantize-cancel").onclick = () => end(null);
    signal.addEventListener("abort", () => end(null));
  });
}
