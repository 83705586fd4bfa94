// The chat page in a real browser:  PARLEY_URL=http://127.0.0.1:8080 npm run test:browser
//
//   PARLEY_URL      the server; without it the in-memory stand-in of testdata/chat-app.mjs
//   PARLEY_RESTART  a shell command that restarts that server, returning once it answers;
//                   without it (and with PARLEY_URL) the browsers' network is cut instead
//   CHROMIUM        default /usr/bin/chromium
//   SCREENSHOTS     a folder to leave pictures in
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { connect } from '../parley.js';
import { chatApp } from '../testdata/chat-app.mjs';

const { PARLEY_URL, PARLEY_RESTART, CHROMIUM = '/usr/bin/chromium', SCREENSHOTS } = process.env;
const app = PARLEY_URL ? null : await chatApp();
const url = PARLEY_URL ?? app.url;
const run = Date.now().toString(36); // rooms of a server that remembers earlier runs
const complaints = []; // violations of the policy, errors on a page, dialogs
let browser;

before(async () => {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
  browser = await chromium.launch({ executablePath: CHROMIUM, args });
});
after(async () => {
  await browser.close();
  await app?.stop();
});

/** A browser of one user, on the page. */
async function visit(t, room, { name, query = '', ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 760 }, ...options });
  t.after(() => context.close());
  await context.exposeFunction('complain', (what) => complaints.push(what));
  await context.addInitScript((given) => {
    document.addEventListener('securitypolicyviolation', (event) => complain(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    if (given && localStorage.getItem('parley.name') === null) localStorage.setItem('parley.name', given);
  }, name);
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => complaints.push(`error: ${error.stack}`));
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  const response = await page.goto(`${url}/${query}#${encodeURIComponent(room)}`);
  assert.match(response.headers()['content-security-policy'], /require-trusted-types-for 'script'/);
  await joined(page);
  return page;
}

const joined = (page) => page.locator('#status[data-state="connected"]').waitFor({ timeout: 20_000 });
const settled = (page) => page.waitForFunction(() => !document.querySelector('.pending'), null, { timeout: 20_000 });
const texts = (page) => page.locator('.entry .text').allTextContents();
const sees = (page, text) => page.locator('.entry:not(.pending) .text', { hasText: text }).first().waitFor();
const picture = (page, name) => SCREENSHOTS && page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });

async function say(page, text) {
  await page.fill('#composer', text);
  await page.press('#composer', 'Enter');
}

/** Sends n messages as another program would, each once the last is stored. */
async function fill(t, room, n, make) {
  const client = connect(url);
  t.after(() => client.close());
  await client.request('joinRoom', { roomId: room, userId: 'filler', name: 'Filler' });
  for (let i = 0; i < n; i++) {
    const message = make(i);
    for (let answer; answer?.seq === undefined;) {
      if (answer) await new Promise((resolve) => setTimeout(resolve, 500)); // the server's rate limit
      answer = await client.request('sendMessage', { roomId: room, message, clientId: `${run}-${room}-${i}` });
    }
  }
  return client;
}

const spec = (name, body) => test(name, { timeout: 90_000 }, async (t) => {
  complaints.length = 0;
  await body(t);
  assert.deepEqual(complaints, []);
});

spec('two users: messages, presence, typing, names', async (t) => {
  const room = `talk ${run}`;
  const ada = await visit(t, room, { name: 'Ada' });
  await ada.locator('#empty').waitFor();
  const bob = await visit(t, room, { name: 'Bob', viewport: { width: 390, height: 780 }, query: '?transport=polling' });
  assert.match(await ada.textContent('#status'), /WebSocket/);
  assert.match(await bob.textContent('#status'), /HTTP polling/);
  await ada.locator('#people li', { hasText: 'Bob' }).waitFor();

  await ada.locator('#composer').pressSequentially('Hel');
  await bob.locator('#typing', { hasText: 'Ada is typing' }).waitFor();
  await say(ada, 'Hello\nBob');
  await sees(bob, 'Hello\nBob');
  await bob.waitForFunction(() => document.querySelector('#typing').textContent === '');
  await say(bob, 'Hi Ada');
  await sees(ada, 'Hi Ada');
  assert.equal(await ada.locator('.entry.own').count(), 1);
  assert.equal(await ada.locator('.entry:not(.own) .author bdi').textContent(), 'Bob');
  await settled(bob);
  await picture(ada, 'talk-desktop');
  await picture(bob, 'talk-mobile');

  await bob.click('#menu');
  await bob.fill('#name-input', 'Robert');
  await bob.press('#name-input', 'Enter');
  await ada.locator('#people li', { hasText: 'Robert' }).waitFor();
  // Who goes between two polls is missed at the ping timeout only: wait until one is under way.
  await bob.waitForFunction(async () => {
    const answered = () => performance.getEntriesByType('resource').length;
    const before = answered();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return answered() === before;
  });
  await bob.context().close();
  await ada.waitForFunction(() => document.querySelectorAll('#people li').length === 1);
});

spec('history: the newest page, older ones on scrolling up, any JSON', async (t) => {
  const room = `past/${run}?#%`;
  const shapes = ['a plain string', 42, null, true, [1, { a: 2 }], { kind: 'order', id: 7 }];
  const filler = await fill(t, room, 120, (i) => (i < 114 ? { text: `number ${i}`, name: 'Filler' } : shapes[i - 114]));
  const page = await visit(t, room, { name: 'Ada', colorScheme: 'dark' });
  await sees(page, '{"kind":"order","id":7}');
  assert.equal(await page.textContent('#title'), room);
  assert.ok((await texts(page)).length < 120, 'not all at once');
  const first = page.locator('.entry').first();
  const place = await first.evaluate((entry) => { scroller.scrollTop = 0; return [entry.dataset.seq, entry.querySelector('.text').getBoundingClientRect().top]; });
  await page.waitForFunction((seq) => document.querySelector('.entry').dataset.seq !== seq, place[0]);
  const moved = await page.locator(`.entry[data-seq="${place[0]}"] .text`).evaluate((text, was) => Math.abs(text.getBoundingClientRect().top - was), place[1]);
  assert.ok(moved < 3, `what was in view stayed there (moved ${moved} px)`);
  await filler.request('sendMessage', { roomId: room, message: { text: 'the latest' }, clientId: `${run}-latest` });
  await page.locator('#latest', { hasText: '1 new message' }).waitFor();
  await picture(page, 'history-dark');
  for (let i = 0; i < 5 && !(await page.textContent('#top')).includes('beginning'); i++) {
    await page.evaluate(() => { scroller.scrollTop = 1; scroller.scrollTop = 0; });
    await page.waitForTimeout(200);
  }
  const wanted = [...Array.from({ length: 114 }, (_, i) => `number ${i}`), ...shapes.map((s) => (typeof s === 'string' ? s : JSON.stringify(s))), 'the latest'];
  assert.deepEqual(await texts(page), wanted);
  await page.click('#latest');
  await page.waitForFunction(() => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 3);
});

spec('a break: nothing lost, nothing twice, drafts survive it and a reload', async (t) => {
  const room = `break ${run}`;
  const ada = await visit(t, room, { name: 'Ada' });
  const bob = await visit(t, room, { name: 'Bob', query: '?transport=polling,websocket' });
  await bob.locator('#status', { hasText: 'WebSocket' }).waitFor(); // upgraded
  await say(ada, 'before');
  await sees(bob, 'before');
  const cut = PARLEY_URL && !PARLEY_RESTART;
  const both = [ada, bob];
  const away = async () => {
    for (const page of both) await page.locator('#status:not([data-state="connected"])').waitFor();
  };
  if (cut) for (const page of both) await page.context().setOffline(true);
  else if (app) await app.stop();
  else {
    const restarted = promisify(execFile)('sh', ['-c', PARLEY_RESTART]);
    await away();
    await restarted;
  }
  if (cut || app) {
    await away();
    assert.match(await ada.textContent('#status'), /Reconnecting|Offline/);
  }
  for (let i = 0; i < 5; i++) {
    await say(ada, `ada ${i}`);
    await say(bob, `bob ${i}`);
  }
  await picture(ada, 'break');
  if (app) {
    await ada.evaluate(() => Promise.resolve()); // drafts are kept by the tab
    assert.equal(await ada.locator('.pending').count(), 5);
    await app.start();
  }
  if (cut) for (const page of both) await page.context().setOffline(false);
  for (const page of both) { await joined(page); await settled(page); }
  await say(ada, 'after');
  await sees(bob, 'after');
  const [a, b] = await Promise.all(both.map(texts));
  assert.deepEqual(a, b);
  assert.equal(a.length, 12);
  assert.equal(new Set(a).size, 12);
  for (const who of ['ada', 'bob']) assert.deepEqual(a.filter((text) => text.startsWith(who)), [0, 1, 2, 3, 4].map((i) => `${who} ${i}`));
  await ada.reload();
  await joined(ada);
  await sees(ada, 'after');
  assert.deepEqual(await texts(ada), a);
});

spec('rooms: the field, the address, back and forward', async (t) => {
  const page = await visit(t, `one ${run}`, { name: 'Ada' });
  await say(page, 'in one');
  await settled(page);
  await page.fill('#room-input', `two ${run}`);
  await page.press('#room-input', 'Enter');
  await page.locator('#empty').waitFor();
  assert.equal(decodeURIComponent(new URL(page.url()).hash), `#two ${run}`);
  await say(page, 'in two');
  await settled(page);
  await page.goBack();
  await sees(page, 'in one');
  assert.deepEqual(await texts(page), ['in one']);
  await page.goForward();
  await sees(page, 'in two');
  assert.deepEqual(await texts(page), ['in two']);
});

spec('a room that cannot be joined is not shown as one that will be', async (t) => {
  const page = await visit(t, `before ${run}`, { name: 'Ada' });
  await page.evaluate(() => { location.hash = '\u00e9'.repeat(150); });
  await page.locator('#notice', { hasText: 'Could not join the room' }).waitFor();
  assert.equal(await page.textContent('#status'), 'Not in the room');
  await page.goBack();
  await joined(page);
  await page.locator('#notice').waitFor({ state: 'hidden' });
});

spec('links to web pages can be followed, others are text', async (t) => {
  const page = await visit(t, `links ${run}`, { name: 'Ada' });
  const text = 'See https://a.example/?q=<b>, not javascript:alert(1).';
  await say(page, text);
  await sees(page, text);
  const links = await page.locator('#log a').evaluateAll((all) => all.map(({ href, textContent, target, rel }) => ({ href, textContent, target, rel })));
  assert.deepEqual(links, [{ href: 'https://a.example/?q=', textContent: 'https://a.example/?q=', target: '_blank', rel: 'noopener noreferrer' }]);
});

const payloads = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '"><svg/onload=alert(1)>',
  '\'"--></style></script><script>alert(1)</script>',
  'javascript:alert(1)',
  '<a href="javascript:alert(1)">x</a>',
  '<iframe srcdoc="<script>alert(1)</script>">',
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '{{constructor.constructor("alert(1)")()}}',
  '${alert(1)}',
  '</textarea><script>alert(1)</script>',
  '<details open ontoggle=alert(1)>',
  '__proto__',
  'constructor',
  '\u202Egnitrela\u202C \u0000 \uFEFF',
  '%3Cscript%3Ealert(1)%3C/script%3E',
  '"][data-seq="1',
];

spec('what others write is text: messages, names, ids, rooms', async (t) => {
  const room = `xss ${run}`;
  const page = await visit(t, room, { name: 'Ada' });
  const client = await fill(t, room, payloads.length, (i) => ({ text: payloads[i], name: payloads[i] }));
  await sees(page, payloads.at(-1));
  assert.deepEqual(await texts(page), payloads);
  for (const [i, payload] of payloads.entries()) {
    // Whatever the server thinks of such ids and rooms, the page must stand it.
    await client.request('joinRoom', { roomId: room, userId: payload, name: payload });
    await client.request('sendMessage', { roomId: room, message: { html: payload, [payload]: 1 }, clientId: `${payload}${i}${run}` });
    client.emit('typing', { roomId: room, typing: true });
  }
  await page.waitForTimeout(300);
  assert.equal(await page.locator('#log :is(script, img, svg, iframe, a, style, math, table, details, textarea)').count(), 0);
  assert.equal(await page.locator('#people :is(script, img, svg, iframe, a), #typing *').count(), 0);
  for (const payload of payloads) {
    await page.evaluate((hash) => { location.hash = hash; }, encodeURIComponent(payload));
    await page.waitForFunction((text) => document.querySelector('#title').textContent === text, payload);
  }
  assert.equal(await page.locator('h1 *').count(), 0);
  await page.goto(`${url}/?transport=${encodeURIComponent(payloads[1])}#%E0%A4%A`); // not even percent-encoding
  await page.locator('#title').waitFor();
});

if (app) {
  spec('a refused message shows why, can be retried and discarded', async (t) => {
    const page = await visit(t, `refuse ${run}`, { name: 'Ada' });
    await say(page, '/refuse');
    await page.locator('.failed', { hasText: 'this message is not allowed' }).waitFor();
    await page.click('text=Retry');
    await page.locator('.failed').waitFor();
    await page.reload(); // drafts are kept by the tab
    await page.locator('.failed', { hasText: 'this message is not allowed' }).waitFor();
    await page.click('text=Discard');
    await page.locator('#empty').waitFor();
    assert.deepEqual(await texts(page), []);
  });

  spec('after a break: pages of missed messages in order, and another history when the server has another', async (t) => {
    const room = `missed ${run}`;
    const page = await visit(t, room, { name: 'Ada' });
    await say(page, 'first');
    await settled(page);
    await app.stop();
    await say(page, 'kept');
    const { messages } = app.roomOf(room);
    while (messages.length < 171) messages.push({ id: String(messages.length), roomId: room, seq: messages.length + 1, userId: 'x', message: `missed ${messages.length}`, timestamp: 0 });
    await app.start();
    await joined(page);
    await settled(page);
    assert.deepEqual(await texts(page), ['first', ...Array.from({ length: 170 }, (_, i) => `missed ${i + 1}`), 'kept']);
    await app.stop();
    app.forget();
    await say(page, 'into the new one');
    await app.start();
    await joined(page);
    await settled(page);
    assert.deepEqual(await texts(page), ['into the new one']);
  });
}
