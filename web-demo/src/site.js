// Where the page stands: a folder of files, or a server that answers too.

/**
 * @typedef {object} CatalogueEntry
 * @property {string} name
 * @property {string} [about] A few words.
 * @property {string} [licence]
 * @property {string} url Of a .tmac2.bin or .gguf file; relative to the page, or anywhere that lets pages read it.
 * @property {number} bytes Length of the file.
 * @property {string} [sha256] Of the file, 64 hexadecimal digits.
 */

/**
 * What `site.json` says: `server` is null, or `{keys}` where `edgellm serve` answers, `keys` whether it wants one; `engine`
 * whether the engine's files are there; `catalogue` the models on offer.
 * @returns {Promise<{server: {keys: boolean} | null, engine: boolean, catalogue: CatalogueEntry[]}>}
 */
export async function readSite() {
  const response = await fetch("site.json");
  if (!response.ok) throw new Error(`site.json: ${response.status}`);
  return response.json();
}

/** Lets the page work offline from its next visit on. Resolves once its files go through the service worker. */
export async function workOffline() {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  try {
    await workers.register("sw.js", {updateViaCache: "none"});
    if (workers.controller) return;
    await new Promise((resolve) => {
      workers.addEventListener("controllerchange", resolve, {once: true});
      // A browser that clears this up later must not keep the page waiting.
      setTimeout(resolve, 3000);
    });
  } catch (error) {
    console.info(`offline use is not possible here: ${error.message}`);
  }
}
