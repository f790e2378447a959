// A local web server for the page: static files with the headers of headers.json, and range requests.

import {createHash} from "node:crypto";
import {createReadStream} from "node:fs";
import {readFile, stat} from "node:fs/promises";
import {createServer} from "node:http";
import {extname, join} from "node:path";
import {fileURLToPath} from "node:url";

const PAGE = fileURLToPath(new URL("..", import.meta.url));
/** The output of scripts/build-web. */
export const ENGINE = process.env.EDGELLM_WEB ?? fileURLToPath(new URL("../../target/edgellm-web", import.meta.url));

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

/**
 * Serves the page. `models` maps names below `models/` to files; `catalogue` lists the models to download; `isolated: false`
 * omits the headers that threads need. Resolves to `{url, close}`.
 */
export async function serve({port = 0, models = {}, catalogue = [], isolated = true} = {}) {
  const headers = JSON.parse(await readFile(join(PAGE, "headers.json"), "utf8"));
  if (!isolated) for (const name of ["cross-origin-opener-policy", "cross-origin-embedder-policy"]) delete headers[name];
  const site = JSON.stringify({server: null, engine: true, catalogue});
  const server = createServer(async (request, response) => {
    try {
      const path = decodeURIComponent(new URL(request.url, "http://page").pathname).slice(1) || "index.html";
      if (path === "site.json") await sendBytes(request, response, Buffer.from(site), TYPES[".json"], headers);
      else await sendFile(request, response, locate(path, models), headers);
    } catch (error) {
      const status = error.code === "ENOENT" || error.code === "EISDIR" ? 404 : 500;
      response.writeHead(status, {"content-type": "text/plain"}).end(`${status}\n`);
    }
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  const close = () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    return closed;
  };
  return {url: `http://127.0.0.1:${server.address().port}/`, close};
}

function locate(path, models) {
  const [folder, ...rest] = path.split("/");
  const refused = Object.assign(new Error(path), {code: "ENOENT"});
  if (rest.includes("..") || folder === "..") throw refused;
  if (folder === "models") {
    if (!Object.hasOwn(models, rest.join("/"))) throw refused;
    return models[rest.join("/")];
  }
  if (folder === "engine") return join(ENGINE, ...rest);
  const published = ["src", "vendor"].includes(folder) || (rest.length === 0 && extname(folder) in TYPES);
  if (!published) throw refused;
  return join(PAGE, path);
}

async function sendBytes(request, response, bytes, type, headers) {
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
  if (request.headers["if-none-match"] === etag) return response.writeHead(304, {...headers, etag}).end();
  response.writeHead(200, {...headers, etag, "content-type": type, "content-length": bytes.length});
  response.end(request.method === "HEAD" ? undefined : bytes);
}

async function sendFile(request, response, file, headers) {
  const {size, mtimeMs} = await stat(file);
  const etag = `"${size.toString(16)}-${Math.floor(mtimeMs).toString(16)}"`;
  const shared = {...headers, etag, "accept-ranges": "bytes", "content-type": TYPES[extname(file)] ?? "application/octet-stream"};
  if (request.headers["if-none-match"] === etag) return response.writeHead(304, shared).end();
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const [start, end] = range ? [Number(range[1]), Math.min(range[2] ? Number(range[2]) : Infinity, size - 1)] : [0, size - 1];
  if (range && start > end) return response.writeHead(416, {...shared, "content-range": `bytes */${size}`}).end();
  const partial = range ? {"content-range": `bytes ${start}-${end}/${size}`} : {};
  response.writeHead(range ? 206 : 200, {...shared, ...partial, "content-length": end - start + 1});
  if (request.method === "HEAD" || size === 0) return response.end();
  // Closes the file if the client disconnects.
  const stream = createReadStream(file, {start, end});
  response.on("close", () => stream.destroy());
  stream.pipe(response);
}
