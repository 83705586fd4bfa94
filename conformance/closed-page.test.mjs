// The page of a closed server in a browser: visitors with tokens, and operators who sign in. It needs
// "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newPage, useBrowser } from './browser.mjs';
import { atEnd, connected, count, parley, test as bare } from './harness.mjs';
import { proxy } from './proxy.mjs';

useBrowser();

const here = fileURLToPath(new URL('.', import.meta.url));
const PASSWORD = 'correct horse battery';
const complaints = []; // policy violations, errors on a page, dialogs

const test = (name, run) => bare(name, async (t) => {
  complaints.length = 0;
  await run(t);
  assert.deepEqual(complaints, []);
});

/** Starts a closed server behind a proxy, so that it has the same address after a restart. */
async function desk(t, { operators = { anna: 'Anna' }, flags = ['--visitors'] } = {}) {
  const data = await mkdtemp(join(tmpdir(), 'parley-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const command = (args, input = '') => execFileSync(`${here}.bin/parley`, [...args, '--data', data], { input, stdio: ['pipe', 'ignore', 'inherit'] });
  const addOperator = (id, name) => command(['operator', 'add', id, '--name', name, '--password-stdin'], PASSWORD);
  const start = () => parley(t, '--addr', '127.0.0.1:0', '--data', data, ...flags);
  for (const [id, name] of Object.entries(operators)) addOperator(id, name);
  let server = await start();
  const between = await proxy(t, server.url);
  return {
    url: between.url, between, addOperator, command: (...args) => command(args),
    stop: () => server.stop('SIGTERM'),
    async start() { between.target = (server = await start()).url; },
  };
}

/** Opens the page in a browser context of its own. */
async function visit(t, url, { before, hash = '', page } = {}) {
  page ??= await newPage(t);
  await page.context().exposeFunction('complain', (what) => complaints.push(what)).catch(() => {}); // it is there already
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => complain(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  if (before) await page.addInitScript(before);
  page.on('pageerror', (error) => complaints.push(`error: ${error.stack}`));
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(`${url}/${hash}`);
  return page;
}

const joined = (page) => page.locator('#status[data-state="connected"]').waitFor();
const settled = (page) => page.waitForFunction(() => !document.querySelector('.pending, .failed'));
const texts = (page) => page.locator('.entry .text').allTextContents();
const sees = (page, text) => page.locator('.entry:not(.pending) .text', { hasText: text }).first().waitFor();

async function say(page, text) {
  await page.fill('#composer', text);
  await page.press('#composer', 'Enter');
}

/** Opens the page and waits until its visitor may write. */
async function visitor(t, url, options) {
  const page = await visit(t, url, options);
  await joined(page);
  return page;
}

async function signIn(page, login = 'anna', password = PASSWORD) {
  await page.fill('#login', login);
  await page.fill('#password', password);
  await page.press('#password', 'Enter');
}

/** Opens the page and signs an operator in. */
async function operator(t, url, login = 'anna', options = {}) {
  const page = await visit(t, url, { hash: '#sign-in', ...options });
  await signIn(page, login);
  await page.locator('#desk').waitFor();
  return page;
}

const listed = (page, text) => page.locator('#rooms a', { hasText: text });

async function openRoom(page, text) {
  await listed(page, text).click();
  await page.waitForFunction(() => location.hash.length > 1);
  await joined(page);
}

const tokenOf = (page) => page.evaluate(() => localStorage.getItem('parley.token'));
const userOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub;

test('a visitor writes, an operator signs in and answers; both see it, also after a reload', async (t) => {
  const { url } = await desk(t);
  const ann = await visitor(t, url);
  await ann.locator('#empty').waitFor();
  assert.equal(await ann.locator('#room-form, #name-form').locator('visible=true').count(), 0);
  await say(ann, 'My shoes are too small');
  await settled(ann);

  const anna = await visit(t, url, { hash: '#sign-in' });
  await signIn(anna, 'anna', 'not the password');
  await anna.locator('#sign-in-error', { hasText: 'Not signed in' }).waitFor();
  await signIn(anna);
  await listed(anna, 'My shoes are too small').locator('.badge', { hasText: '1 new' }).waitFor();
  await anna.locator('#status-text', { hasText: 'Connected' }).waitFor(); // although no conversation is chosen
  await openRoom(anna, 'My shoes');
  await sees(anna, 'My shoes are too small');
  await listed(anna, 'My shoes').locator('.badge').waitFor({ state: 'detached' }); // displayed, so it is read
  await anna.locator('#facts', { hasText: 'here now' }).waitFor();
  await anna.locator('#title', { hasText: /^Visitor \w{4}$/ }).waitFor();

  await anna.locator('#composer').pressSequentially('Which');
  await ann.locator('#typing', { hasText: 'Anna is typing' }).waitFor();
  await say(anna, 'Which size do you need?');
  await sees(ann, 'Which size');
  assert.equal(await ann.locator('.entry:not(.own) .author bdi').textContent(), 'Anna');
  await ann.locator('#people li', { hasText: 'Anna' }).waitFor();
  await ann.locator('#composer').pressSequentially('43');
  await anna.locator('#typing', { hasText: /^Visitor \w{4} is typing/ }).waitFor();
  await ann.press('#composer', 'Enter');
  await sees(anna, '43');

  for (const page of [ann, anna]) {
    await page.reload();
    await joined(page);
    await sees(page, '43');
    assert.deepEqual(await texts(page), ['My shoes are too small', 'Which size do you need?', '43']);
  }
  assert.equal(await ann.locator('.entry.own').count(), 2);
  assert.equal(await anna.locator('.entry.own').count(), 1);
});

test('operators claim, note, close and reopen; the visitor sees no note, and its message opens a closed conversation', async (t) => {
  const { url } = await desk(t, { operators: { anna: 'Anna', ben: 'Ben' } });
  const ann = await visitor(t, url);
  const heard = [];
  ann.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => heard.push(String(payload))));
  await ann.reload();
  await joined(ann);
  await say(ann, 'Hello?');
  const anna = await operator(t, url), ben = await operator(t, url, 'ben');
  await openRoom(anna, 'Hello?');
  await openRoom(ben, 'Hello?');
  await listed(ben, 'waiting since').waitFor();
  await anna.click('#claim');
  await listed(ben, 'Anna').waitFor();
  await anna.locator('#claim').waitFor({ state: 'hidden' });
  await ann.locator('#composer[placeholder="Write to Anna"]').waitFor();
  await ben.fill('#note', 'She is a <b>regular</b>');
  await ben.click('text=Add note');
  for (const page of [anna, ben]) {
    await page.locator('#notes li', { hasText: 'Anna' }).filter({ hasText: 'claimed the conversation' }).waitFor();
    await page.locator('#notes li', { hasText: 'Ben' }).filter({ hasText: 'She is a <b>regular</b>' }).waitFor();
  }
  assert.equal(await ben.inputValue('#note'), '');
  await anna.click('#answered');
  await listed(ben, 'waiting since').waitFor({ state: 'detached' });
  await anna.click('#close');
  await listed(ben, 'Hello?').waitFor({ state: 'detached' });
  await ann.locator('#composer[placeholder*="closed"]').waitFor();
  await ben.selectOption('#desk-filter', 'closed');
  await listed(ben, 'Hello?').waitFor();
  await anna.click('#reopen');
  await listed(ben, 'Hello?').waitFor({ state: 'detached' });
  await anna.click('#close');
  await ann.locator('#composer[placeholder*="closed"]').waitFor();
  await ann.reload(); // the conversation is still there
  await sees(ann, 'Hello?');
  await say(ann, 'One more thing');
  await sees(anna, 'One more thing');
  await anna.locator('#facts', { hasText: 'open' }).waitFor();
  assert.ok(heard.length > 0);
  for (const frame of heard) assert.doesNotMatch(frame, /regular|newNote|claimed/);
});

test('own messages can be changed and deleted', async (t) => {
  const { url } = await desk(t);
  const ann = await visitor(t, url);
  await say(ann, 'Helo');
  await say(ann, 'wrong window');
  await settled(ann);
  const anna = await operator(t, url);
  await openRoom(anna, 'wrong window');
  assert.equal(await anna.locator('.entry .controls').count(), 0, 'only for own messages');
  await ann.locator('.entry', { hasText: 'Helo' }).getByText('Edit').click();
  assert.equal(await ann.inputValue('#composer'), 'Helo');
  await say(ann, 'Hello');
  await ann.locator('.entry', { hasText: 'wrong' }).getByText('Delete').click();
  for (const page of [ann, anna]) {
    await page.locator('.entry .edited').waitFor();
    await page.locator('.entry .deleted').waitFor();
    assert.deepEqual(await texts(page), ['Hello']);
  }
});

test('two tabs are one visitor with one conversation', async (t) => {
  const { url } = await desk(t);
  const one = await visitor(t, url);
  const other = await visitor(t, url, { page: await one.context().newPage() });
  const token = await tokenOf(one);
  await say(one, 'from one');
  await settled(one);
  await sees(other, 'from one'); // the server tells it that there is a conversation
  await say(other, 'from the other');
  for (const page of [one, other]) {
    await sees(page, 'from one');
    await sees(page, 'from the other');
    assert.equal(await page.locator('.entry.own').count(), 2);
  }
  assert.equal(await tokenOf(other), token);
  const anna = await operator(t, url);
  await listed(anna, 'from the other').waitFor();
  assert.equal(await anna.locator('#rooms li').count(), 1);
});

test('the server restarts: nothing lost, nothing twice, what was written meanwhile is sent, the first message too', async (t) => {
  const server = await desk(t);
  const ann = await visitor(t, server.url), bob = await visitor(t, server.url);
  const anna = await operator(t, server.url);
  await say(ann, 'before');
  await openRoom(anna, 'before');
  await server.stop();
  const all = [ann, bob, anna];
  for (const page of all) await page.locator('#status:not([data-state="connected"])').waitFor();
  for (const i of count(5)) await say(ann, `meanwhile ${i}`);
  await say(bob, 'the first');
  await say(bob, 'the second');
  await bob.goto('about:blank');
  await server.start();
  await bob.goto(server.url);
  for (const page of all) { await joined(page); await settled(page); }
  for (const page of [ann, anna]) {
    await sees(page, 'meanwhile 4');
    assert.deepEqual(await texts(page), ['before', ...count(5).map((i) => `meanwhile ${i}`)]);
  }
  await sees(bob, 'the second');
  assert.deepEqual(await texts(bob), ['the first', 'the second']);
  await listed(anna, 'the second').waitFor();
  assert.equal(await anna.locator('#rooms li').count(), 2);
});

for (const [name, block] of Object.entries({
  blocked: () => { for (const area of ['localStorage', 'sessionStorage']) Object.defineProperty(window, area, { get() { throw new DOMException('blocked', 'SecurityError'); } }); },
  full: () => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }; },
})) {
  test(`the storage is ${name}: a visitor is one as long as its page is there, an operator stays signed in`, async (t) => {
    const server = await desk(t);
    const ann = await visitor(t, server.url, { before: block });
    await say(ann, 'hello');
    await say(ann, 'hello again');
    await settled(ann);
    server.between.cut();
    await say(ann, 'and once more');
    await settled(ann);
    await sees(ann, 'and once more');
    assert.deepEqual(await texts(ann), ['hello', 'hello again', 'and once more']);
    const anna = await operator(t, server.url, 'anna', { before: block });
    await anna.reload();
    await listed(anna, 'and once more').waitFor();
  });
}

test('an operator whose session has ended is back at the form, and nothing is left for the next one', async (t) => {
  const server = await desk(t, { operators: { anna: 'Anna', ben: 'Ben' } });
  const { url } = server;
  const ann = await visitor(t, url);
  await say(ann, 'secret');
  const anna = await operator(t, url);
  await openRoom(anna, 'secret');
  await anna.fill('#composer', 'half an answer');
  const ben = await operator(t, url, 'ben');
  await openRoom(ben, 'secret');

  server.command('operator', 'disable', 'anna');
  await anna.locator('#door', { hasText: 'Your session has ended' }).waitFor();
  assert.doesNotMatch(await anna.evaluate(() => document.body.textContent), /secret|half an answer/);
  assert.equal(await anna.inputValue('#composer'), '');
  assert.equal(await anna.evaluate(() => document.activeElement.id), 'login');
  await signIn(anna, 'ben');
  await listed(anna, 'secret').waitFor();
  await anna.locator('#account', { hasText: 'Ben' }).waitFor();

  await ben.click('#sign-out');
  await ben.locator('#sign-in-form').waitFor();
  assert.doesNotMatch(await ben.evaluate(() => document.body.textContent), /secret/);
  await ben.click('#door-back'); // from here on, it is a visitor
  await joined(ben);
  await ben.locator('#empty').waitFor();
  assert.equal(await ben.locator('#rooms li').count(), 0);
});

test('another operator signs in, in another tab: nothing of the first one is left, and nothing is sent as the other', async (t) => {
  const { url } = await desk(t, { operators: { anna: 'Anna', ben: 'Ben' } });
  const ann = await visitor(t, url);
  await say(ann, 'Hello?');
  const anna = await operator(t, url);
  await openRoom(anna, 'Hello?');
  const other = await visit(t, url, { page: await anna.context().newPage() });
  await listed(other, 'Hello?').waitFor();
  await anna.context().setOffline(true);
  await say(anna, 'half an answer');
  await anna.locator('.pending').waitFor();
  await anna.context().setOffline(false);
  await settled(anna); // as Anna
  await other.click('#sign-out');
  await anna.locator('#door', { hasText: 'Your session has ended' }).waitFor();
  await anna.evaluate(() => { // as if it had no time to clean up
    sessionStorage.setItem('parley.who', 'operator anna');
    sessionStorage.setItem('parley.outbox.', JSON.stringify([{ clientId: 'x', message: { text: 'a secret of Anna' } }]));
  });
  await signIn(other, 'ben');
  await other.locator('#account', { hasText: 'Ben' }).waitFor();
  await anna.goto(url);
  await anna.reload();
  await anna.locator('#account', { hasText: 'Ben' }).waitFor();
  assert.doesNotMatch(await anna.evaluate(() => document.body.textContent), /secret/);
  assert.equal(await anna.evaluate(() => sessionStorage.getItem('parley.outbox.') ?? ''), '');
});

test('a banned visitor is told, and does not come back as somebody else', async (t) => {
  const server = await desk(t);
  const ann = await visitor(t, server.url);
  await say(ann, 'rude');
  await settled(ann);
  const token = await tokenOf(ann);
  server.command('ban', 'add', '--user', userOf(token));
  await ann.locator('#door', { hasText: 'You cannot write here' }).waitFor();
  await ann.reload();
  await ann.locator('#door', { hasText: 'You cannot write here' }).waitFor();
  assert.equal(await ann.locator('#composer').isVisible(), false);
  assert.equal(await tokenOf(ann), token);
});

test('who may come in is said: without visitors, and while nobody could answer', async (t) => {
  const only = await desk(t, { flags: [] });
  const page = await visit(t, only.url);
  await page.locator('#door', { hasText: 'for people whom its site has signed in, and for operators' }).waitFor();
  await signIn(page);
  await page.locator('#desk').waitFor();
  const empty = await desk(t, { operators: {} });
  const early = await visit(t, empty.url);
  await early.clock.install();
  await early.reload();
  await early.locator('#door', { hasText: 'Nobody can answer yet' }).waitFor();
  empty.addOperator('anna', 'Anna');
  await early.clock.fastForward(60_000);
  await joined(early); // by itself
});

test('a token that the server does not know any more is replaced, and what is remembered may be anything', async (t) => {
  const { url } = await desk(t);
  const page = await visitor(t, url);
  const token = await tokenOf(page);
  for (const remembered of ['x', 'ä\u0000', 'x'.repeat(100_000), `${token.slice(0, -4)}AAAA`, '<img src=x onerror=alert(1)>']) {
    await page.evaluate((text) => { localStorage.setItem('parley.token', text); sessionStorage.setItem('parley.outbox.', '[null, 1'); }, remembered);
    await page.reload();
    await joined(page);
    await page.locator('#empty').waitFor();
    assert.notEqual(await tokenOf(page), remembered);
  }
  await page.evaluate(() => localStorage.setItem('parley.operator', 'yes')); // but there is no cookie
  await page.reload();
  await joined(page);
});

test('messages that come too fast are sent by and by, in their order', async (t) => {
  const { url } = await desk(t);
  const page = await visitor(t, url);
  const refused = [];
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => { if (String(payload).includes('rate_limited')) refused.push(payload); }));
  await page.reload();
  await joined(page);
  const all = count(14).map((i) => `message ${i}`);
  for (const text of all) await say(page, text);
  await sees(page, all.at(-1));
  assert.ok(refused.length > 0, 'the server refused some');
  assert.equal(await page.locator('.failed').count(), 0);
  assert.deepEqual(await texts(page), all);
});

test('an open server becomes closed: its page asks to be loaded again', async (t) => {
  const server = await desk(t, { operators: {}, flags: [] });
  const page = await visitor(t, server.url);
  await say(page, 'in the open');
  await settled(page);
  server.addOperator('anna', 'Anna');
  await page.click('#reconnect');
  await page.locator('#notice', { hasText: 'who you are' }).waitFor();
  await page.click('#notice-action');
  await page.locator('#door', { hasText: 'for operators' }).waitFor();
  await signIn(page);
  await page.locator('#desk').waitFor();
});

const payloads = [
  '<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"><svg onload=alert(1)>', '<iframe srcdoc="<script>alert(1)</script>">',
  'javascript:alert(1)', '<a href="javascript:alert(1)">click</a>', '{{constructor.constructor("alert(1)")()}}', '__proto__', '\u202Egnitrela', '[x](javascript:alert(1))',
];

test('what others write stays text: messages, subjects, labels, pages, notes and names of operators', async (t) => {
  const evil = payloads[1];
  const { url } = await desk(t, { operators: { anna: evil, ben: '<script>alert(2)</script>' } });
  const anna = await operator(t, url);
  const { token } = await fetch(`${url}/api/visitors`, { method: 'POST' }).then((response) => response.json());
  const cookies = (await anna.context().cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
  const staff = await connected(t, url, { transports: ['websocket'], extraHeaders: { cookie: cookies } });
  const client = await connected(t, url, { auth: { token } });
  const fine = (answer) => { assert.equal(answer.error, undefined); return answer; };
  const { roomId } = fine(await client.emitWithAck('startConversation', { subject: evil, message: { text: 'the first', name: evil }, attributes: { evil } }));
  await openRoom(anna, 'the first');
  fine(await client.emitWithAck('joinRoom', { roomId }));
  fine(await staff.emitWithAck('joinRoom', { roomId, notes: true }));
  fine(await staff.emitWithAck('updateRoom', { roomId, addLabels: ['<b>label</b>', 'javascript:alert(1)'] }));
  /** Says it until the operator's page shows it: the server drops what comes too often. */
  const visits = async (page) => {
    const shown = anna.locator('#facts dd', { hasText: `${page.title.replace('\u202E', '')} ` });
    do fine(await client.emitWithAck('hello', { page })); while (!await shown.waitFor({ timeout: 1000 }).then(() => true, () => false));
  };
  for (const [i, payload] of payloads.entries()) {
    await visits({ url: payload, title: payload, referrer: payload });
    assert.equal(await anna.locator('#facts :not(dt, dd, bdi)').count(), 0);
    fine(await staff.emitWithAck('updateRoom', { roomId, subject: payload }));
    fine(await staff.emitWithAck('addNote', { roomId, message: { text: payload } }));
    if (i % 3 === 0) fine(await client.emitWithAck('sendMessage', { roomId, message: { text: payload, name: 'Anna (operator)' } }));
    else fine(await staff.emitWithAck('sendMessage', { roomId, message: { text: payload, [payload]: payload } }));
  }
  await visits({ url: 'https://shop.example/a?b=1', title: 'Shop' });
  await anna.locator('#facts a[href="https://shop.example/a?b=1"]').waitFor();
  await sees(anna, payloads.at(-1));
  await anna.locator('#notes li', { hasText: payloads.at(-1) }).waitFor();
  const ann = await visitor(t, url, { before: `try { localStorage.setItem('parley.token', '${token}'); } catch {}` });
  await sees(ann, payloads.at(-1));
  for (const page of [anna, ann]) {
    assert.deepEqual((await texts(page)).sort(), ['the first', ...payloads].sort());
    assert.equal(await page.locator('main :is(script, img, iframe, style, math, #log svg, #log a), aside :is(script, iframe, svg, #rooms img, #notes a)').count(), 0);
    assert.equal(await page.locator('.entry .author', { hasText: 'Anna (operator)' }).count(), 0, 'nobody says itself who it is');
  }
  await ann.locator('.entry .author', { hasText: evil }).first().waitFor(); // the operator's name, as text
  await ann.locator('#people li', { hasText: evil }).waitFor();
  assert.equal(await anna.locator('#account-name').textContent(), evil);
});
