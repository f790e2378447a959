// Where the page is hosted: on a static site, or by `edgellm serve`.

/**
 * @typedef {object} CatalogueEntry
 * @property {string} name
 * @property {string} [about] A few words.
 * @property {string} [licence]
 * @property {string} url Of a .tmac2.bin or .gguf file; relative to the page, or on a site that allows pages to read it.
 * @property {number} [bytes] Length of the file; where it is known, a download that does not fit is refused before it starts.
 * @property {string} [sha256] Of the file, 64 hexadecimal digits.
 */

/**
 * Reads `site.json`. `server` is null on a static site, or `{keys}`, where `keys` says whether the server requires an API
 * key; `engine` says whether the engine's files are there; `catalogue` lists the models to download.
 * @returns {Promise<{server: {keys: boolean} | null, engine: boolean, catalogue: CatalogueEntry[]}>}
 */
export async function readSite() {
  const response = await fetch("site.json");
  if (!response.ok) throw new Error(`site.json: ${response.status}`);
  return response.json();
}

/** Makes the page work offline from the next visit. Resolves once its files go through the service worker. */
export async function workOffline() {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  try {
    await workers.register("sw.js", {updateViaCache: "none"});
    if (workers.controller) return;
    await new Promise((resolve) => {
      workers.addEventListener("controllerchange", resolve, {once: true});
      // Does not wait for ever for a browser that delays this.
      setTimeout(resolve, 3000);
    });
  } catch (error) {
    console.info(`the page will not work offline: ${error.message}`);
  }
}
