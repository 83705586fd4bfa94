// Starts Chromium and opens pages with clients. It needs "npm ci" in js.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { atEnd, PATIENCE } from './harness.mjs';

const { chromium } = createRequire(new URL('../js/package.json', import.meta.url))('playwright-core');
/** A name that leads to this machine. */
export const rebound = 'rebound.example';

const flags = [`--host-resolver-rules=MAP ${rebound} 127.0.0.1`, '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

let browser, site, origin;

/** Starts one browser for all tests of a file, and a site for pages of another origin than the server's. */
export function useBrowser() {
  before(async () => {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: flags });
    site = createServer(answer);
    await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
    origin = `http://127.0.0.1:${site.address().port}`;
  });
  after(async () => {
    await browser.close();
    site.closeAllConnections();
    site.close();
  });
}

const root = new URL('../', import.meta.url);
const page = (client) => `<!doctype html><title>page</title><body><script src="/conformance/node_modules/${client}/dist/socket.io.js"></script>`;

/** Serves a page at / and the files of the repository. */
async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, origin);
  if (searchParams.has('policy')) response.setHeader('Content-Security-Policy', searchParams.get('policy'));
  if (pathname === '/') return response.setHeader('Content-Type', 'text/html; charset=utf-8').end(page(searchParams.get('client')));
  try {
    const file = await readFile(new URL(`.${pathname}`, root));
    response.setHeader('Content-Type', 'text/javascript; charset=utf-8').end(file);
  } catch {
    response.writeHead(404).end();
  }
}

/** Opens an empty page. It accepts any certificate, except for WebTransport. */
export async function newPage(t, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  atEnd(t, () => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  return page;
}

/**
 * Opens a page of another origin than the server's, with an official client. run(f, argument) calls f in
 * the page with the module conversation.mjs and the argument. requests collects the page's requests,
 * faults its uncaught errors.
 */
export async function open(t, { client = 'socket.io-client', ...query } = {}) {
  const page = await newPage(t);
  const faults = [];
  page.on('pageerror', (e) => faults.push(String(e)));
  const requests = [];
  page.on('response', (r) => requests.push({ type: r.request().resourceType(), method: r.request().method(), url: r.url(), headers: r.headers() }));
  await page.goto(`${origin}/?${new URLSearchParams({ client, ...query })}`);
  await page.evaluate(async () => { globalThis.talk = await import('/conformance/conversation.mjs'); });
  const run = (f, argument) => page.evaluate(`(${f})(talk, ${JSON.stringify(argument)})`);
  return { page, origin, faults, requests, run };
}
