import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Feed } from './feed.js';

/** An EventSource without a server. The test calls its methods. */
class FakeSource extends EventTarget {
  static all = [];
  readyState = 0;
  constructor(url, init) {
    super();
    Object.assign(this, { url, init });
    FakeSource.all.push(this);
  }
  open() { this.readyState = 1; this.onopen(); }
  say(name, data, lastEventId = '') { this.dispatchEvent(Object.assign(new Event(name), { data, lastEventId })); }
  stumble() { this.readyState = 0; this.onerror(); } // loses the connection and reconnects by itself
  giveUp() { this.readyState = 2; this.onerror(); }
  close() { this.readyState = 2; }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Makes a feed. Its server answers HEAD requests with the given statuses, in order. */
async function make(t, statuses = [], options = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  FakeSource.all = [];
  const asked = [], waits = [];
  const feed = new Feed('https://chat.example/feed?limit=1', {
    EventSource: FakeSource, random: () => 1, onwait: ({ delay }) => waits.push(delay),
    fetch: async (url, { method }) => {
      asked.push(`${method} ${url}`);
      const status = statuses.shift();
      if (!status) throw new TypeError('no connection');
      return { status, headers: new Headers(status === 429 ? { 'Retry-After': '7' } : {}) };
    },
    ...options,
  });
  t.after(() => feed.close());
  const got = [];
  feed.on('news', (event) => got.push(event.data));
  await turn();
  const pass = async (ms) => { t.mock.timers.tick(ms); await turn(); };
  return { feed, got, asked, waits, pass, sources: FakeSource.all };
}

test('does nothing while EventSource reconnects', async (t) => {
  const { feed, got, pass, sources } = await make(t, [], { withCredentials: true });
  sources[0].open();
  assert.equal(feed.state, 'open');
  sources[0].say('news', 'a', '1');
  sources[0].stumble();
  assert.equal(feed.state, 'connecting');
  await pass(100_000);
  sources[0].open();
  sources[0].say('news', 'b', '2');
  assert.deepEqual([got, sources.length, feed.lastEventId, sources[0].init], [['a', 'b'], 1, '2', { withCredentials: true }]);
});

test('makes another EventSource, from the last event on, when one gives up', async (t) => {
  const { feed, got, asked, waits, pass, sources } = await make(t, [200]);
  sources[0].open();
  sources[0].say('news', 'a', '1');
  sources[0].giveUp();
  sources[0].say('news', 'late', '2'); // ignored: the next source sends it again
  assert.equal(feed.state, 'waiting');
  await pass(999);
  assert.equal(asked.length, 0);
  await pass(1);
  const address = 'https://chat.example/feed?limit=1&lastEventId=1';
  assert.deepEqual([asked, waits, sources.length, sources[1].url], [[`HEAD ${address}`], [1000], 2, address]);
  sources[1].open();
  sources[1].say('news', 'b', '2');
  assert.deepEqual(got, ['a', 'b']);
});

test('waits longer with each attempt, and at least as long as the server asks', async (t) => {
  const { waits, pass, sources } = await make(t, [0, 503, 429, 404, 405, 200], { max: 9000 });
  sources[0].giveUp();
  for (const ms of [1000, 2000, 4000, 8000, 9000]) await pass(ms);
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 9000]);
  assert.equal(sources.length, 2, 'HEAD is not known: try');
  sources[1].giveUp();
  await pass(9000);
  sources[2].open();
  sources[2].giveUp();
  assert.deepEqual(waits.slice(5), [9000, 1000], 'open begins anew');
});

test('Retry-After', async (t) => {
  const { waits, pass, sources } = await make(t, [429]);
  sources[0].giveUp();
  await pass(1000);
  assert.deepEqual(waits, [1000, 7000]);
});

test('spreads attempts over half of the wait', async (t) => {
  const { waits, sources } = await make(t, [], { random: () => 0 });
  sources[0].giveUp();
  assert.deepEqual(waits, [500]);
});

test('204 ends the feed', async (t) => {
  let ends = 0;
  const { feed, pass, sources } = await make(t, [204], { onend: () => ends++ });
  sources[0].giveUp();
  await pass(1000);
  await pass(1_000_000);
  feed.close();
  assert.deepEqual([feed.state, ends, sources.length], ['ended', 1, 1]);
});

test('close ends it in every state', async (t) => {
  for (const when of ['open', 'waiting', 'asking']) {
    const { feed, pass, sources, got } = await make(t, [200]);
    if (when !== 'open') sources[0].giveUp();
    if (when === 'asking') t.mock.timers.tick(1000);
    feed.close();
    sources[0].say('news', 'late');
    await pass(100_000);
    assert.deepEqual([feed.state, sources.length, sources[0].readyState, got], ['closed', 1, 2, []], when);
    t.mock.timers.reset();
  }
});

test('resumes where it began if no event has come since', async (t) => {
  const { asked, pass, sources } = await make(t, [200]);
  sources[0].open();
  sources[0].say('live', '{}', '41');
  sources[0].giveUp();
  await pass(1000);
  assert.match(asked[0], /&lastEventId=41$/);
});

test('listeners can be added later, and removed', async (t) => {
  const { feed, got, sources } = await make(t);
  const later = [];
  const listener = ({ data }) => later.push(data);
  feed.on('other', listener);
  sources[0].say('other', 'a', '7');
  feed.off('other', listener);
  sources[0].say('other', 'b', '8');
  assert.deepEqual([later, feed.lastEventId, got], [['a'], '8', []]);
});

test('asks for a ticket before each EventSource', async (t) => {
  const tickets = ['one', new Error('the server is away'), '', 'two', 'three'];
  const ticket = async () => {
    const next = tickets.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  const { feed, got, asked, pass, sources } = await make(t, [401, 200], { ticket });
  await turn();
  sources[0].open();
  sources[0].say('news', 'a', '1');
  sources[0].stumble(); // by itself, EventSource uses the same ticket
  sources[0].open();
  sources[0].giveUp();
  for (const ms of [1000, 2000]) { // there is no ticket
    await pass(ms);
    await turn();
    assert.deepEqual([feed.state, asked.length], ['waiting', 0]);
  }
  for (const ms of [4000, 8000]) { // the first one is refused
    await pass(ms);
    await turn();
    await turn();
  }
  sources[1].open();
  sources[1].say('news', 'b', '2');
  const url = (rest) => `https://chat.example/feed?limit=1&${rest}`;
  assert.deepEqual(sources.map(({ url }) => url), [url('ticket=one'), url('lastEventId=1&ticket=three')]);
  assert.deepEqual(asked, [`HEAD ${url('lastEventId=1&ticket=two')}`, `HEAD ${url('lastEventId=1&ticket=three')}`]);
  assert.deepEqual(got, ['a', 'b']);
});

test('waits ten seconds for a ticket', async (t) => {
  const tickets = [new Promise(() => {}), 'two'];
  const { feed, pass, sources } = await make(t, [200], { ticket: () => tickets.shift() });
  await pass(10_000);
  await turn();
  assert.deepEqual([feed.state, sources.length], ['waiting', 0]);
  await pass(1000);
  await turn();
  await turn();
  assert.equal(sources.length, 1);
});

test('closes while it waits for a ticket', async (t) => {
  let give;
  const { feed, sources } = await make(t, [], { ticket: () => new Promise((resolve) => { give = resolve; }) });
  feed.close();
  give('one');
  await turn();
  assert.deepEqual([feed.state, sources.length], ['closed', 0]);
});
