// Tests the chat page in a real browser:  PARLEY_URL=http://127.0.0.1:8080 npm run test:browser
//
//   PARLEY_URL      the server; the default is the in-memory stand-in of testdata/chat-app.mjs
//   PARLEY_STOP     a shell command that stops that server
//   PARLEY_START    a shell command that starts it again on the same data, and returns once it answers;
//                   with PARLEY_URL but without these two, the tests cut the browsers' network instead
//   CHROMIUM        default /usr/bin/chromium
//   SCREENSHOTS     a folder for screenshots
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { plain } from '../../web/text.js';
import { connect } from '../parley.js';
import { chatApp } from '../testdata/chat-app.mjs';

const { PARLEY_URL, PARLEY_STOP, PARLEY_START, CHROMIUM = '/usr/bin/chromium', SCREENSHOTS } = process.env;
const app = PARLEY_URL ? null : await chatApp();
const url = PARLEY_URL ?? app.url;
const run = Date.now().toString(36); // makes rooms unique, since the server may remember earlier runs
const complaints = []; // policy violations, errors on a page, dialogs
let browser;

before(async () => {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
  browser = await chromium.launch({ executablePath: CHROMIUM, args });
});
after(async () => {
  await browser.close();
  await app?.stop();
});

/** Opens the page in a browser context of its own, for one user. */
async function visit(t, room, { name, query = '', before, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 760 }, ...options });
  t.after(() => context.close());
  await context.exposeFunction('complain', (what) => complaints.push(what));
  await context.addInitScript((given) => {
    document.addEventListener('securitypolicyviolation', (event) => complain(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    if (given && localStorage.getItem('parley.name') === null) localStorage.setItem('parley.name', given);
  }, name);
  if (before) await context.addInitScript(before);
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  page.on('pageerror', (error) => complaints.push(`error: ${error.stack}`));
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  const response = await page.goto(`${url}/${query}#${encodeURIComponent(room)}`);
  assert.match(response.headers()['content-security-policy'], /require-trusted-types-for 'script'/);
  await joined(page);
  return page;
}

const joined = (page) => page.locator('#status[data-state="connected"]').waitFor();
const settled = (page) => page.waitForFunction(() => !document.querySelector('.pending'), null);
const texts = (page) => page.locator('.entry .text').allTextContents();
const sees = (page, text) => page.locator('.entry:not(.pending) .text', { hasText: text }).first().waitFor();
const toBeginning = (page) => page.waitForFunction(() => {
  scroller.scrollTop = scroller.scrollTop ? 0 : 1; // fires a scroll event, even at the top
  return document.querySelector('#top').textContent.includes('beginning');
});
const picture = (page, name) => SCREENSHOTS && page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });

async function say(page, text) {
  await page.fill('#composer', text);
  await page.press('#composer', 'Enter');
}

/** Sends messages as another program would. It sends each one after the server has stored the last. */
async function fill(t, room, n, make) {
  const client = connect(url);
  t.after(() => client.close());
  await client.request('joinRoom', { roomId: room, userId: 'filler', name: 'Filler' });
  for (let i = 0; i < n; i++) await client.request('sendMessage', { roomId: room, message: make(i), clientId: `${run}-${room}-${i}` });
  return client;
}

const spec = (name, body) => test(name, { timeout: 600_000 }, async (t) => {
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
  // The server notices a client that leaves between two polls only after the ping timeout. So wait
  // until a poll is under way.
  await bob.waitForFunction(async () => {
    const answered = () => performance.getEntriesByType('resource').length;
    const before = answered();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return answered() === before;
  });
  await bob.context().close();
  await ada.waitForFunction(() => document.querySelectorAll('#people li').length === 1, null, { timeout: 120_000 });
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
  await toBeginning(page);
  const wanted = [...Array.from({ length: 114 }, (_, i) => `number ${i}`), ...shapes.map((s) => (typeof s === 'string' ? s : JSON.stringify(s))), 'the latest'];
  assert.deepEqual(await texts(page), wanted);
  await page.click('#latest');
  await page.waitForFunction(() => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 3);
});

spec('a long room: the document has few messages at any scroll position, and skips none', async (t) => {
  const room = `long ${run}`, n = 700;
  const filler = await fill(t, room, 100, (i) => `number ${i}`);
  const page = await visit(t, room, { name: 'Ada' });
  const asked = []; // the pages that it loads
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => { if (String(payload).includes('["history"')) asked.push(String(payload)); }));
  await page.reload();
  await joined(page);
  for (let i = 100; i < n; i += 50) {
    const together = Array.from({ length: 50 }, (_, k) => ({ roomId: room, message: `number ${i + k}`, clientId: `${run}-${room}-${i + k}` }));
    await Promise.all(together.map((message) => filler.request('sendMessage', message)));
  }
  await sees(page, `number ${n - 1}`);
  assert.equal(await page.locator('#latest').isHidden(), true, 'it stays at the end');
  /** Scrolls in one direction until the message `last` appears. Returns all messages that were in the document, in order. */
  const scroll = (to, last) => page.evaluate(async ([to, last]) => {
    const seen = new Set();
    let most = 0, moved = 0;
    const numbers = () => [...document.querySelectorAll('.entry')].map((entry) => Number(entry.querySelector('.text').textContent.slice(7)));
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    while (!seen.has(last)) {
      const inView = [...document.querySelectorAll('.entry')].find((entry) => entry.getBoundingClientRect().bottom > scroller.getBoundingClientRect().top);
      const before = inView.getBoundingClientRect().bottom;
      scroller.scrollTop += to * 300;
      const by = inView.getBoundingClientRect().bottom - before;
      await frame();
      await frame();
      if (inView.isConnected) moved = Math.max(moved, Math.abs(inView.getBoundingClientRect().bottom - before - by));
      const all = numbers();
      if (all.some((number, i) => i > 0 && number !== all[i - 1] + 1)) return { hole: all };
      for (const number of all) seen.add(number);
      most = Math.max(most, all.length);
    }
    return { most, moved, seen: [...seen].sort((a, b) => a - b) };
  }, [to, last]);
  const up = await scroll(-1, 0);
  assert.deepEqual(up.seen, Array.from({ length: n }, (_, i) => i));
  await filler.request('sendMessage', { roomId: room, message: `number ${n}`, clientId: `${run}-${room}-${n}` });
  await page.locator('#latest', { hasText: '1 new message' }).waitFor();
  const down = await scroll(1, n);
  for (const { most, moved } of [up, down]) {
    assert.ok(most <= 200, `${most} messages in the document`);
    assert.ok(moved < 3, `what was in view stayed there (moved ${moved} px)`);
  }
  await page.evaluate(() => { scroller.scrollTop = scroller.scrollHeight; });
  await page.waitForFunction(() => latest.hidden);
  assert.ok(asked.some((frame) => frame.includes('"around":')), 'it forgot the newest messages and loaded them again');
  assert.deepEqual((await scroll(-1, 0)).seen, Array.from({ length: n + 1 }, (_, i) => i));
  await filler.request('sendMessage', { roomId: room, message: `number ${n + 1}`, clientId: `${run}-${room}-${n + 1}` });
  await page.click('#latest'); // jumps over what it forgot
  await sees(page, `number ${n + 1}`);
  await say(page, `number ${n + 2}`);
  await settled(page);
  const end = (await texts(page)).map((text) => Number(text.slice(7)));
  assert.deepEqual(end, end.map((_, i) => n + 3 - end.length + i), 'without a hole');
});

spec('a flood: each frame adds few messages, and a tab without frames keeps few', async (t) => {
  const room = `flood ${run}`, n = 1000;
  const filler = await fill(t, room, 1, () => 'the first');
  const page = await visit(t, room, { name: 'Ada' });
  const frames = [];
  page.on('websocket', (socket) => { for (const way of ['framesent', 'framereceived']) socket.on(way, ({ payload }) => frames.push(String(payload))); });
  await page.reload();
  await sees(page, 'the first');
  const flood = async (from, to) => {
    for (let i = from; i < to; i += 100) await Promise.all(Array.from({ length: 100 }, (_, k) => filler.request('sendMessage', { roomId: room, message: `flood ${i + k}` })));
  };
  await page.evaluate(() => {
    window.most = 0;
    new MutationObserver((changes) => { window.most = Math.max(window.most, changes.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0)); })
      .observe(document.querySelector('#log'), { childList: true });
  });
  await flood(0, n);
  await sees(page, `flood ${n - 1}`);
  const most = await page.evaluate(() => window.most);
  assert.ok(most > 0 && most <= 200, `${most} messages in a frame`);

  await page.evaluate(() => { // as in a hidden tab
    const frame = window.requestAnimationFrame;
    window.requestAnimationFrame = () => 1;
    window.show = () => { window.requestAnimationFrame = frame; };
  });
  await flood(n, n + 600);
  while (!frames.some((frame) => frame.includes(`flood ${n + 599}`))) await page.waitForTimeout(100);
  frames.length = 0;
  await page.evaluate(() => window.show());
  await page.press('#scroller', 'End');
  await sees(page, `flood ${n + 599}`);
  assert.ok(frames.some((frame) => /\["history",\{"roomId":"[^"]*","limit":50\}/.test(frame)), 'it loaded the newest messages again');
});

spec('texts made to harm: little of each is drawn', async (t) => {
  const room = `harm ${run}`;
  const long = (text) => text.repeat(Math.floor(65_000 / Buffer.byteLength(text)));
  const nested = (depth) => (depth === 0 ? long('x').slice(500) : [nested(depth - 1)]);
  const harm = [
    `a${long('\u0301')}`, long('x'), long('\u05d0a'), long('\u202ea\u202c').slice(0, 20_000), long('\u200b'), long('\ufdfd'), long('\u{1f469}\u200d'), long('https://a.example/ '), long('\u0628'),
    { text: '\n'.repeat(20_000), name: 'n'.repeat(10_000) }, { text: 'marks', name: `n${'\u0301'.repeat(10_000)}` }, { text: 'unseen', name: '\u3164' },
    Object.fromEntries(Array.from({ length: 4000 }, (_, i) => [`key ${i}`, i])), nested(60),
  ];
  const filler = await fill(t, room, harm.length, (i) => harm[i]);
  const page = await visit(t, room, { name: 'Ada' });
  await filler.request('sendMessage', { roomId: room, message: 'the end' });
  await sees(page, 'the end');
  await toBeginning(page); // the server's pages are bounded in bytes
  const entries = await page.locator('.entry').evaluateAll((all) => all.map((entry) => ({
    text: entry.querySelector('.text').textContent, nodes: entry.querySelectorAll('*').length, height: entry.getBoundingClientRect().height,
    lines: entry.querySelector('.text').textContent.split('\n').length, more: entry.querySelector('.rest')?.textContent, author: entry.querySelector('.author bdi').textContent,
  })));
  assert.equal(entries.length, harm.length + 1);
  for (const { text, nodes, height, lines, author } of entries) {
    const said = `${JSON.stringify(text.slice(0, 40))}: ${text.length} characters, ${lines} lines, ${nodes} elements, ${height} px`;
    assert.ok(text.length <= 1000 && lines <= 26 && nodes <= 120 && height < 1100 && author.length <= 60, said);
  }
  assert.equal(entries[0].text, `a${'\u0301'.repeat(12)}\ufffd`);
  assert.match(entries[1].more, /^Show more \(64.000 characters\)$/);
  assert.equal(entries[11].author, 'filler', 'a name that is not seen');
  await picture(page, 'harm');
});

spec('a long message: its parts, with the keyboard', async (t) => {
  const room = `parts ${run}`;
  const text = Array.from({ length: 2000 }, (_, i) => `word ${i}`).join(' ');
  await fill(t, room, 1, () => text);
  const page = await visit(t, room, { name: 'Ada' });
  const entry = page.locator('.entry');
  const more = entry.getByRole('button', { name: /^Show more/ });
  const lengths = [];
  while (await more.count()) {
    lengths.push((await texts(page))[0].length);
    await more.focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement === document.querySelector('.text').lastChild), true, 'the new part has the focus');
  }
  assert.deepEqual(await texts(page), [text]);
  assert.ok(lengths.every((length, i) => length - (lengths[i - 1] ?? 0) <= (i === 0 ? 1000 : 4000)), `parts end at ${lengths}`);
  assert.ok(await entry.evaluate(({ clientHeight }) => clientHeight < 1100), 'the rest is reached by scrolling');
  assert.equal(await page.locator('.text').getAttribute('tabindex'), '0');
});

spec('a disconnect: nothing lost, nothing twice, drafts survive it and a reload', async (t) => {
  const room = `break ${run}`;
  const ada = await visit(t, room, { name: 'Ada' });
  const bob = await visit(t, room, { name: 'Bob', query: '?transport=polling,websocket' });
  await bob.locator('#status', { hasText: 'WebSocket' }).waitFor(); // upgraded
  await say(ada, 'before');
  await sees(bob, 'before');
  const both = [ada, bob];
  const shell = (command) => promisify(execFile)('sh', ['-c', command]);
  const online = (is) => Promise.all(both.map((page) => page.context().setOffline(!is)));
  const [stop, start] = app ? [app.stop, app.start] : PARLEY_STOP ? [() => shell(PARLEY_STOP), () => shell(PARLEY_START)] : [() => online(false), () => online(true)];
  await stop();
  for (const page of both) await page.locator('#status:not([data-state="connected"])').waitFor();
  assert.match(await ada.textContent('#status'), /Reconnecting|Offline/);
  for (let i = 0; i < 5; i++) {
    await say(ada, `ada ${i}`);
    await say(bob, `bob ${i}`);
  }
  await picture(ada, 'break');
  for (const page of both) assert.equal(await page.locator('.pending').count(), 5);
  await start();
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

spec('a room that refuses is not shown as one being joined', async (t) => {
  const page = await visit(t, `before ${run}`, { name: 'Ada' });
  await page.evaluate(() => { location.hash = '\u00e9'.repeat(150); });
  await page.locator('#notice', { hasText: 'Could not join the room' }).waitFor();
  assert.equal(await page.textContent('#status'), 'Not in the room');
  await page.goBack();
  await joined(page);
  await page.locator('#notice').waitFor({ state: 'hidden' });
});

spec('links to web pages work, others are text', async (t) => {
  const page = await visit(t, `links ${run}`, { name: 'Ada' });
  await say(page, 'https://bank.example@evil.example/');
  await say(page, 'https://b\u0430nk.example/');
  await page.locator('.entry a', { hasText: `https://b\u0430nk.example/ (${new URL('https://b\u0430nk.example/').host})` }).waitFor();
  await settled(page);
  assert.equal(await page.locator('#log a').count(), 1);
  await page.reload();
  await joined(page);
  await page.evaluate(() => { location.hash += ' again'; });
  await joined(page);
  await page.locator('#empty').waitFor();
  const text = 'See https://a.example/?q=<b>, not javascript:alert(1).';
  await say(page, text);
  await sees(page, text);
  const links = await page.locator('#log a').evaluateAll((all) => all.map(({ href, textContent, target, rel }) => ({ href, textContent, target, rel })));
  assert.deepEqual(links, [{ href: 'https://a.example/?q=', textContent: 'https://a.example/?q=', target: '_blank', rel: 'noopener noreferrer' }]);
});

// WCAG 2.2, 1.4.3 and 1.4.11: the contrast with the background is 4.5:1 for text and 3:1 for the edge of a field.
for (const colorScheme of ['light', 'dark']) {
  spec(`${colorScheme}: everything has enough contrast`, async (t) => {
    const room = `looks ${colorScheme} ${run}`;
    const others = await fill(t, room, 3, (i) => ['See https://a.example/ for more', { text: 'long\n'.repeat(60), name: 'Bob' }, { order: 7 }][i]);
    const operator = connect(url);
    t.after(() => operator.close());
    await operator.request('joinRoom', { roomId: room, operatorId: 'anna', name: 'Anna' });
    await operator.request('sendMessage', { roomId: room, message: { text: 'From an operator', name: 'Anna' }, clientId: `${run}-anna` });
    const page = await visit(t, room, { name: 'Ada', colorScheme });
    await say(page, app ? '/refuse' : 'x'.repeat(70_000));
    await page.locator('.failed').waitFor();
    await say(page, 'See https://b.example/');
    await sees(page, 'https://b.example/');
    await page.evaluate(() => new Promise((resolve) => {
      scroller.addEventListener('scroll', resolve, { once: true });
      scroller.scrollTop = 0;
    }));
    await others.request('sendMessage', { roomId: room, message: 'unseen', clientId: `${run}-unseen` });
    await page.locator('#latest').waitFor();
    while (!await page.textContent('#typing')) { // repeat: the server drops typing events that it cannot send at once
      operator.emit('typing', { roomId: room, typing: true });
      await page.waitForTimeout(100);
    }
    const connected = await page.evaluate(unreadable);
    await page.context().setOffline(true);
    await page.locator('#reconnect').waitFor();
    await say(page, 'See https://c.example/');
    await page.locator('.pending').waitFor();
    await picture(page, `looks-${colorScheme}`);
    const offline = await page.evaluate(unreadable);
    assert.deepEqual({ connected: connected.faults, offline: offline.faults }, { connected: {}, offline: {} });
    const parts = ['bubble', 'author', 'avatar', 'badge', 'you', 'A.own', 'A', 'TIME', 'rest', 'error', 'latest', 'typing', 'status-text', 'INPUT', 'edge of INPUT', 'placeholder', 'H1'];
    assert.deepEqual(parts.filter((part) => !connected.seen.includes(part) && !offline.seen.includes(part)), [], 'what has been looked at');
  });
}

/** Runs in the page. Returns the texts and field edges that have too little contrast, and the names of all that it checked. */
function unreadable() {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return color.startsWith('color(srgb') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = ([r, g, b, a], [s, h, c, d]) => {
    const alpha = a + d * (1 - a);
    return alpha === 0 ? [0, 0, 0, 0] : [[r, s], [g, h], [b, c]].map(([x, y]) => (x * a + y * d * (1 - a)) / alpha).concat(alpha);
  };
  const fade = ([r, g, b, a], opacity) => [r, g, b, a * opacity];
  const luminance = (color) => color.slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  /** Returns the contrast ratio of a colour with the background of an element. */
  const contrast = (color, element) => {
    let ink = parse(color), back = [0, 0, 0, 0];
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor, opacity } = getComputedStyle(at);
      [ink, back] = [ink, back].map((layer) => fade(over(layer, parse(backgroundColor)), Number(opacity)));
    }
    const [light, dark] = [ink, back].map(luminance).sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const worst = new Map(), seen = new Set(); // worst: the lowest contrast of each part that has too little
  const look = (part, color, element, least) => {
    seen.add(part);
    const found = contrast(color, element);
    if (!(found >= Math.min(least, worst.get(part) ?? least))) worst.set(part, found);
  };
  const name = (element) => element.className || element.id || element.tagName;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
    const part = element.closest('.author, .badge, .error, .text a, #latest') ?? element;
    for (const kind of [name(part), `${part.tagName}${part.closest('.own') ? '.own' : ''}`, part.closest('.bubble') ? 'bubble' : '']) seen.add(kind);
    const painted = element.closest('.author bdi, .avatar'); // its colour depends on the person: try all hues
    const owner = painted?.closest('[style]');
    const hue = owner?.style.getPropertyValue('--hue');
    for (let h = 0; h < (painted ? 360 : 1); h++) {
      owner?.style.setProperty('--hue', h);
      look(name(part), getComputedStyle(element).color, element, 4.5);
    }
    owner?.style.setProperty('--hue', hue);
  }
  for (const field of document.querySelectorAll('input, textarea')) {
    look(field.tagName, getComputedStyle(field).color, field, 4.5);
    look(`edge of ${field.tagName}`, getComputedStyle(field).borderTopColor, field.parentElement, 3);
    look('placeholder', getComputedStyle(field, '::placeholder').color, field, 4.5);
  }
  return { faults: Object.fromEntries(worst), seen: [...seen] };
}

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

spec('what others write stays text: messages, names, ids, rooms', async (t) => {
  const room = `xss ${run}`;
  const page = await visit(t, room, { name: 'Ada' });
  const client = await fill(t, room, payloads.length, (i) => ({ text: payloads[i], name: payloads[i] }));
  await sees(page, payloads.at(-1));
  assert.deepEqual(await texts(page), payloads);
  for (const [i, payload] of payloads.entries()) {
    // The server may refuse such ids and rooms, but the page must cope with them.
    await client.request('joinRoom', { roomId: room, userId: payload, name: payload }).catch(() => {});
    await client.request('sendMessage', { roomId: room, message: { html: payload, [payload]: 1 }, clientId: `${payload}${i}${run}` }).catch(() => {});
    client.emit('typing', { roomId: room, typing: true });
  }
  await client.request('joinRoom', { roomId: room, userId: 'filler', name: 'Filler' });
  await client.request('sendMessage', { roomId: room, message: 'the end', clientId: `${run}-end` });
  await sees(page, 'the end');
  assert.equal(await page.locator('#log :is(script, img, svg, iframe, a, style, math, table, details, textarea)').count(), 0);
  assert.equal(await page.locator('#people :is(script, img, svg, iframe, a), #typing :not(bdi)').count(), 0);
  for (const payload of payloads) {
    await page.evaluate((hash) => { location.hash = hash; }, encodeURIComponent(payload));
    await page.waitForFunction((text) => document.querySelector('#title').textContent === text, plain(payload, 200));
  }
  assert.equal(await page.locator('h1 *').count(), 0);
  await page.goto(`${url}/?transport=${encodeURIComponent(payloads[1])}#%E0%A4%A`); // not valid percent-encoding
  await page.locator('#title').waitFor();
});

spec('the storage may contain anything', async (t) => {
  const room = `storage ${run}`;
  const page = await visit(t, room, { name: '\u0007'.repeat(3) });
  for (const outbox of ['{', '[null, 1, {}, {"clientId": 1, "message": 1}]', '{"length": 1}', '[{"clientId": "a", "message": {"text": "kept"}, "at": "x", "error": {}}]']) {
    await page.evaluate(([key, value]) => {
      sessionStorage.setItem(key, value);
      localStorage.setItem('parley.userId', ['u\u0000'.repeat(10_000), 'guest-12345678', '{', '[null]', '\uff47uest-1'][value.length % 5]);
      localStorage.setItem('parley.name', ['\u0007', '\u3164', '\u202e', '\u200b'.repeat(1000), ''][value.length % 5]);
    }, [`parley.outbox.${room}`, outbox]);
    await page.reload();
    await joined(page);
    await settled(page);
    assert.match(await page.inputValue('#name-input'), /^Guest \d+$/);
  }
  await sees(page, 'kept');
  await page.evaluate(() => { location.hash = 'x'.repeat(1_000_000); });
  await page.locator('#notice', { hasText: 'Could not join the room' }).waitFor();
  assert.ok(await page.evaluate(() => document.querySelector('h1').textContent.length + document.querySelector('#room-input').value.length + document.title.length) < 700);
});

for (const [name, block] of Object.entries({
  'blocked': () => { for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area, { get() { throw new DOMException('blocked', 'SecurityError'); } }); },
  'full': () => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }; },
  'absent': () => { for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area, { value: null }); },
})) {
  spec(`the storage may be ${name}`, async (t) => {
    const page = await visit(t, `${name} ${run}`, { before: block });
    assert.match(await page.inputValue('#name-input'), /^Guest \d+$/);
    await page.fill('#name-input', 'Ada');
    await page.press('#name-input', 'Enter');
    await page.locator('#people li', { hasText: 'Ada' }).waitFor();
    await say(page, 'hello');
    await settled(page);
    assert.deepEqual(await texts(page), ['hello']);
  });
}

spec('names and texts do not change the direction of the text around them', async (t) => {
  const room = `bidi ${run}`, name = '\u202Eevil\u2066';
  const client = await fill(t, room, 2, (i) => ['\u202Ea https://a.example/b', { text: 'https://a.example/\u202Emoc.knab', name }][i]);
  const page = await visit(t, room, { name: 'Ada' });
  await sees(page, 'moc.knab');
  await client.request('joinRoom', { roomId: room, userId: 'filler', name });
  await page.locator('#people li', { hasText: 'evil' }).waitFor();
  while (!await page.textContent('#typing')) {
    client.emit('typing', { roomId: room, typing: true });
    await page.waitForTimeout(100);
  }
  /** Reports whether the first text is drawn to the left of the second. */
  const inOrder = (selector, first, second) => page.locator(selector).first().evaluate((node, [first, second]) => {
    const place = (wanted) => {
      const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const at = texts.currentNode.data.indexOf(wanted);
        if (at < 0) continue;
        const range = document.createRange();
        range.setStart(texts.currentNode, at);
        range.setEnd(texts.currentNode, at + wanted.length);
        return range.getBoundingClientRect().left;
      }
      throw new Error(`no "${wanted}" in "${node.textContent}"`);
    };
    return place(first) < place(second);
  }, [first, second]);
  assert.equal(await page.textContent('#typing'), 'evil is typing…');
  assert.ok(await inOrder('#typing', 'evil', 'typing'));
  assert.ok(await inOrder('#people li:not(:first-child)', 'e', 'vil'));
  assert.ok(await inOrder('.entry:last-child .author', 'e', 'vil'));
  assert.ok(await inOrder('.text a', 'https', 'example'), 'a link reads as it leads');
  assert.deepEqual(await page.locator('.text a').evaluateAll((all) => all.map(({ textContent }) => textContent)), ['https://a.example/b', 'https://a.example/']);
  await page.evaluate((hash) => { location.hash = hash; }, encodeURIComponent(name));
  await page.waitForFunction(() => document.title === 'evil · Parley');
  await page.goBack();
  for (const [name, shown] of [['Operator', '“Operator”'], ['Ada (you)', '“Ada (you)”'], ['\u2800', 'filler']]) {
    await client.request('joinRoom', { roomId: room, userId: 'filler', name });
    await page.locator('#people li bdi', { hasText: shown }).waitFor();
  }
});

if (app) {
  spec('a refused message shows why, can be retried and discarded', async (t) => {
    const page = await visit(t, `refuse ${run}`, { name: 'Ada' });
    await say(page, '/refuse');
    await page.locator('.failed', { hasText: 'this message is not allowed' }).waitFor();
    await page.click('text=Retry');
    await page.locator('.failed').waitFor();
    await page.reload(); // the tab keeps its drafts
    await page.locator('.failed', { hasText: 'this message is not allowed' }).waitFor();
    await page.click('text=Discard');
    await page.locator('#empty').waitFor();
    assert.deepEqual(await texts(page), []);
  });

  spec('after a disconnect: pages of missed messages in order, and a new history if the server has one', async (t) => {
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
