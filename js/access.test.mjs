import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Access } from '../web/access.js';

/** An Access with what the browser remembers, and a server that gives these answers in turn. */
function browser({ remembered = {}, answers = [], blocked = false } = {}) {
  const kept = { ...remembered }, asked = [];
  const remember = { get: (key) => (blocked ? '' : kept[key] ?? ''), set(key, value) { if (!blocked) kept[key] = value; } };
  const access = new Access(remember, async (path, { method, headers, body }) => {
    asked.push([method, path, headers.Authorization ?? body ?? ''].join(' ').trim());
    const answer = answers.shift();
    if (!answer) throw new TypeError('network');
    const [status, content, before] = answer;
    before?.(kept);
    return { ok: status < 300, status, text: async () => (typeof content === 'string' ? content : JSON.stringify(content)) };
  });
  return { access, kept, asked, answers };
}

const refusal = (code, more) => ({ code, detail: `because: ${code}`, ...more });

test('a visitor gets a token once', async () => {
  const { access, kept, asked } = browser({ answers: [[401, refusal('bad_token')], [201, { token: 'a.b.c' }]] });
  await access.begin();
  assert.equal(access.operator, false);
  assert.deepEqual(await access.auth(), { token: 'a.b.c' });
  assert.deepEqual(await access.auth(), { token: 'a.b.c' });
  assert.deepEqual(asked, ['GET api/me', 'POST api/visitors']);
  assert.equal(kept.token, 'a.b.c');
});

test('a visitor who comes again keeps its token, or gets a newer one for it', async () => {
  const { access, kept, asked } = browser({ remembered: { token: 'old' }, answers: [[200, { userId: 'v_1' }]] });
  await access.begin();
  assert.deepEqual(await access.auth(), { token: 'old' });
  assert.deepEqual([asked, kept.token], [['POST api/visitors Bearer old'], 'old']);

  const later = browser({ remembered: { token: 'old' }, answers: [[201, { token: 'new' }]] });
  assert.deepEqual(await later.access.auth(), { token: 'new' });
  assert.equal(later.kept.token, 'new');
});

test('a token that counts no more is replaced; other refusals are not a reason', async () => {
  for (const code of ['bad_token', 'token_expired']) {
    const { access, asked } = browser({ remembered: { token: 'old' }, answers: [[401, refusal(code)], [201, { token: 'new' }]] });
    assert.deepEqual(await access.auth(), { token: 'new' });
    assert.deepEqual(asked, ['POST api/visitors Bearer old', 'POST api/visitors']);
  }
  for (const answers of [[], [[503, refusal('unavailable')]], [[502, '<html>']], [[429, refusal('rate_limited', { retryAfter: 9 })]]]) {
    const { access, kept } = browser({ remembered: { token: 'old' }, answers });
    assert.deepEqual(await access.auth(), { token: 'old' });
    assert.equal(kept.token, 'old');
  }
  const banned = browser({ remembered: { token: 'old' }, answers: [[403, refusal('banned')]] });
  await assert.rejects(banned.access.auth(), { code: 'banned' });
  assert.equal(banned.kept.token, 'old', 'so that it does not come back as somebody else');
});

test('who has no token learns why there is none', async () => {
  for (const [status, code, more] of [[403, 'forbidden'], [503, 'not_ready'], [429, 'rate_limited', { retryAfter: 9 }]]) {
    const { access } = browser({ answers: [[status, refusal(code, more)]] });
    await assert.rejects(access.auth(), { code, message: `because: ${code}`, data: { retryAfter: more?.retryAfter } });
  }
  await assert.rejects(browser().access.auth(), { code: 'transport' });
});

test('if another tab is faster, both have its token', async () => {
  const { access, kept } = browser({ answers: [[201, { token: 'mine' }, (kept) => { kept.token = 'theirs'; }]] });
  assert.deepEqual(await access.auth(), { token: 'theirs' });
  assert.equal(kept.token, 'theirs');
});

test('a refused token is dropped once: a new one that is refused too stays', async () => {
  const { access } = browser({ remembered: { token: 'old' }, answers: [[200, {}], [201, { token: 'new' }]] });
  await access.auth();
  assert.equal(access.drop(), true);
  assert.deepEqual(await access.auth(), { token: 'new' });
  assert.equal(access.drop(), false);
});

test('if nothing can be remembered, the page remembers it while it is there', async () => {
  const { access, asked } = browser({ blocked: true, answers: [[200, { role: 'user' }], [201, { token: 'a' }]] });
  await access.begin();
  await access.auth();
  assert.deepEqual(await access.auth(), { token: 'a' });
  assert.equal(asked.length, 2);
});

test('what is remembered may be anything', async () => {
  for (const token of ['ä', 'a b', 'x\r\nX: y', 'x'.repeat(10_000)]) {
    const { access, asked } = browser({ remembered: { token }, answers: [[201, { token: 'new' }]] });
    assert.deepEqual(await access.auth(), { token: 'new' });
    assert.deepEqual(asked, ['POST api/visitors']);
  }
});

test('an operator signs in and out, and stays signed in after a reload', async () => {
  const { access, kept, asked } = browser({ remembered: { token: 'a' }, answers: [[401, refusal('bad_token')], [200, { role: 'operator' }], [204, '']] });
  await assert.rejects(access.signIn('anna', 'wrong'), { code: 'bad_token' });
  assert.equal(access.operator, false);
  await access.signIn('anna', 'right');
  assert.deepEqual([access.operator, await access.auth()], [true, {}], 'the cookie says who it is, not the token of the visitor');

  for (const [answers, signedIn] of [[[[200, { role: 'admin' }]], true], [[], true], [[[401, refusal('bad_token')]], false]]) {
    const again = browser({ remembered: kept, answers });
    await again.access.begin();
    assert.equal(again.access.operator, signedIn);
    assert.deepEqual(again.asked, ['GET api/me']);
  }
  await access.signOut();
  assert.equal(access.operator, false);
  assert.deepEqual(asked, ['POST api/session {"login":"anna","password":"wrong"}', 'POST api/session {"login":"anna","password":"right"}', 'DELETE api/session']);
});
