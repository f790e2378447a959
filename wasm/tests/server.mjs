// A static server for tests: cross-origin isolation on demand, byte ranges, and answers that tests make up.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

const ISOLATION = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

/**
 * Serves on a free port of 127.0.0.1.
 *
 * `roots` maps prefixes of paths to folders or files, the longest match wins. `routes` maps paths to functions
 * (request, response). `isolated` sends the headers that make pages cross-origin isolated. What is returned has `url`
 * (without a slash at its end), `requests` (method and path of each), `routes`, and `close`.
 */
export async function serve({ roots, routes = {}, isolated = true }) {
  const prefixes = Object.keys(roots).sort((a, b) => b.length - a.length);
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    requests.push(`${request.method} ${path}`);
    if (isolated) {
      for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
    }
    if (routes[path]) return routes[path](request, response);
    const prefix = prefixes.find((prefix) => path === prefix || (prefix.endsWith('/') && path.startsWith(prefix)));
    if (!prefix) return missing(response);
    const rest = normalize(path.slice(prefix.length)).replace(/^(\.\.?(\/|$))+/, '');
    await send(join(roots[prefix], rest || (path.endsWith('/') ? 'index.html' : '')), request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, requests, routes, close };
}

function missing(response) {
  response.writeHead(404, { 'content-type': 'text/plain' }).end('not found');
}

async function send(file, request, response) {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return missing(response);
  const headers = {
    'accept-ranges': 'bytes',
    'cache-control': 'no-store',
    'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
    'last-modified': found.mtime.toUTCString(),
    etag: `"${found.size}-${found.mtimeMs}"`,
  };
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  let [start, end, status] = [0, found.size - 1, 200];
  if (range) {
    start = Number(range[1]);
    end = Math.min(end, range[2] ? Number(range[2]) : end);
    if (start > end) {
      response.writeHead(416, { 'content-range': `bytes */${found.size}` }).end();
      return;
    }
    status = 206;
    headers['content-range'] = `bytes ${start}-${end}/${found.size}`;
  }
  response.writeHead(status, { ...headers, 'content-length': end - start + 1 });
  if (request.method === 'HEAD' || found.size === 0) response.end();
  else createReadStream(file, { start, end }).pipe(response);
}
