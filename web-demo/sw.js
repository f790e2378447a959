// Caches the page and the engine for offline use: the network is asked first, and the cache answers if the network does not.
// Model files are stored by the page itself (src/store.js), and API responses are never cached.

const CACHE = "edgellm";
const SCOPE = self.registration.scope;
/** Milliseconds after which a cached file is used instead of waiting for the network. */
const PATIENCE = 3000;

self.addEventListener("install", (event) => event.waitUntil(keepPage().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/** Caches the files that index.html refers to. */
async function keepPage() {
  const cache = await caches.open(CACHE);
  const page = await fetch(SCOPE);
  const text = await page.clone().text();
  const named = text.matchAll(/ (?:href|src)="([^"#:]+)"/g);
  const files = new Set(["site.json", ...Array.from(named, ([, file]) => file)]);
  await Promise.all([cache.put(SCOPE, page), cache.addAll([...files])]);
}

self.addEventListener("fetch", (event) => {
  const {request} = event;
  const url = new URL(request.url);
  url.search = "";
  if (request.method !== "GET" || request.headers.has("range") || !isOurs(url.href)) return;
  event.respondWith(answer(request, url.href, (work) => event.waitUntil(work)));
});

/** Whether a URL is a file of the page, not an API endpoint. */
function isOurs(url) {
  if (!url.startsWith(SCOPE)) return false;
  const path = url.slice(SCOPE.length);
  if (path === "sw.js" || path === "openapi.json") return false;
  return path === "" || /^(src|vendor|engine)\//.test(path) || /^[\w-]+\.\w+$/.test(path);
}

async function answer(request, url, also) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(url);
  const asked = fetch(request).then((response) => {
    if (response.ok && response.type === "basic") also(cache.put(url, response.clone()));
    return response;
  });
  if (!kept) return asked;
  also(asked.catch(() => {}));
  const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  return Promise.race([asked, patience]).then((response) => response ?? kept, () => kept);
}
