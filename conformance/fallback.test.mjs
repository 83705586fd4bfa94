// In networks that deny transports, clients end up with the next best one after few attempts. This prints
// the table of docs/transports.md. It needs "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, suite } from 'node:test';
import { io } from 'socket.io-client';
import { open, useBrowser } from './browser.mjs';
import * as talk from './conversation.mjs';
import { serve, test } from './harness.mjs';
import { network } from './network.mjs';

const { WebSocket } = createRequire(new URL('../js/', import.meta.url))('ws');

useBrowser();

/** Where clients run. kinds lists the transports there, best first. start resolves with run(f, argument), which calls f with conversation.mjs. */
const places = {
  'Node.js': {
    kinds: ['websocket', 'sse', 'polling'],
    start: async () => (f, argument) => f({ ...talk, dial: (options) => talk.dial(options, { io, WebSocket }) }, argument),
  },
  Chromium: {
    kinds: ['webtransport', 'websocket', 'sse', 'polling', 'jsonp'],
    start: async (t) => (await open(t)).run,
  },
};

// A denied transport has so many ms to open. The others have no such limit, because a client on a busy machine
// would otherwise give them up.
const TIMEOUT = 1000;
const brief = (denied) => Object.fromEntries(Object.keys(denied).map((kind) => [kind, TIMEOUT]));

// How often a client may begin a session over a denied transport. It tries one twice that opens and is cut.
const ATTEMPTS = 2;

/** The ways to deny each transport. If it opens with fewer bytes than the cut allows, it is cut later, in use. */
const ways = {
  webtransport: ['refused', 'swallowed', { cut: 1000 }],
  websocket: ['refused', 'reset', 'swallowed', 'buffered', { cut: 0 }, { cut: 100 }, { cut: 200 }, { cut: 400 }],
  sse: ['refused', 'reset', 'swallowed', 'buffered', { cut: 0 }, { cut: 100 }],
  polling: ['refused', 'reset', 'swallowed', { cut: 0 }, { cut: 100 }],
};
const named = (how) => (how.cut === undefined ? how : `cut after ${how.cut} bytes`);

/** The networks. They deny single transports, and then several, from the best one on. `from` is the first transport offered. */
const networks = [];
for (const [kind, hows] of Object.entries(ways)) {
  for (const how of hows) networks.push({ name: `${kind} ${named(how)}`, denied: { [kind]: how }, from: kind });
}
for (const how of ['refused', 'swallowed']) {
  for (const last of ['websocket', 'sse', 'polling']) {
    const kinds = places.Chromium.kinds.slice(0, places.Chromium.kinds.indexOf(last) + 1);
    networks.push({ name: `${kinds.join(', ')} ${how}`, denied: Object.fromEntries(kinds.map((kind) => [kind, how])), from: 'webtransport' });
  }
}

/** Runs in a page or here. Connects and talks. Resolves with the transport that it ended up with, and after how many ms. */
async function arrive({ dial, ask }, options) {
  const begun = Date.now();
  const client = dial(options);
  const enough = 10, end = begun + 120_000;
  let transport, ms, talks = 0;
  client.socket.on('connect', () => { transport = client.transport(); ms = Date.now() - begun; talks = 0; });
  while (talks < enough && Date.now() < end) {
    if (client.socket.connected) {
      // If the connection is cut, no answer comes.
      const cut = new Promise((resolve) => { client.socket.once('disconnect', resolve); });
      const said = await Promise.race([cut, ask(client, 'message-with-ack', new Uint8Array([1, 2, 3]), 'é')]);
      if (said?.[1] === 'é' && new Uint8Array(said[0])[2] === 3) talks++;
    } else await new Promise((resolve) => setTimeout(resolve, 5));
  }
  client.close();
  return { transport: talks < enough ? 'nothing' : transport, ms };
}

let server;
const ends = [];
before(async () => { server = await serve({ after: (end) => ends.push(end) }, '-legacy', '-webtransport'); });
after(async () => { for (const end of ends) await end(); });

const results = new Map(networks.map(({ name }) => [name, {}]));

suite('denied', { concurrency: 2 }, () => {
  for (const [place, { kinds, start }] of Object.entries(places)) {
    for (const client of ['own', 'official']) {
      test(`${client}, ${place}`, async (t) => {
        const run = await start(t);
        const hash = server.out().split('\n')[0];
        const faults = [];
        const one = async ({ name, denied, from }) => {
          const offered = kinds.slice(Math.max(0, kinds.indexOf(from)));
          const arrives = offered.find((kind) => !denied[kind]);
          if (!arrives || !offered.some((kind) => denied[kind])) return;
          const between = await network(t, server.url, denied);
          const { transport, ms } = await run(arrive, { client, url: between.url, kinds: offered, brief: brief(denied), hash: kinds.includes('webtransport') && hash });
          results.get(name)[`${client}, ${place}`] = `${transport} ${ms} ms`;
          if (transport !== arrives) faults.push(`${name}: ${transport} after ${ms} ms`);
          for (const kind in denied) if (between.begun[kind] > ATTEMPTS) faults.push(`${name}: ${between.begun[kind]} attempts with ${kind}`);
          if (between.begun[arrives] > 1) faults.push(`${name}: ${between.begun[arrives]} attempts with ${arrives}`);
        };
        const rest = [...networks];
        await Promise.all(Array.from({ length: 6 }, async () => { while (rest.length > 0) await one(rest.shift()); }));
        assert.deepEqual(faults, []);
      });
    }
  }
});

/** Runs in a page or here. Talks while an upgrade fails, which must not disturb it. */
async function stay({ dial, traffic, next }, options) {
  const client = dial(options);
  const faults = [];
  client.socket.on('disconnect', (reason) => faults.push(`disconnect: ${reason}`));
  await next(client, 'connect');
  faults.push(...await traffic(client, 200, 10)); // two seconds: longer than the upgrade's timeout
  if (client.transport() !== options.kinds[0]) faults.push(`it is ${client.transport()} now`);
  client.socket.off('disconnect');
  client.close();
  return faults;
}

suite('an upgrade that fails', { concurrency: 2 }, () => {
  for (const [place, { kinds, start }] of Object.entries(places)) {
    for (const client of ['own', 'official']) {
      test(`${client}, ${place}`, async (t) => {
        const run = await start(t);
        const hash = server.out().split('\n')[0];
        const hows = ['refused', 'reset', 'swallowed', 'buffered', { cut: 0 }, { cut: 100 }, { cut: 132 }]; // 132 is in the answer to the probe
        const upgrades = { websocket: hows, ...kinds.includes('webtransport') && { webtransport: ways.webtransport } };
        const cases = Object.entries(upgrades).flatMap(([to, hows]) => hows.flatMap((how) => ['polling', 'sse'].map((kind) => ({ kind, to, how }))));
        const found = await Promise.all(cases.map(async ({ kind, to, how }) => {
          const between = await network(t, server.url, { [to]: how });
          const options = { client, url: between.url, kinds: [kind, to], upgrade: true, brief: brief({ [to]: how }), hash: to === 'webtransport' && hash };
          return (await run(stay, options)).map((fault) => `${kind}, ${to} ${named(how)}: ${fault}`);
        }));
        assert.deepEqual(found.flat(), []);
      });
    }
  }
});

after(() => {
  const columns = Object.keys(places).flatMap((place) => ['own', 'official'].map((client) => `${client}, ${place}`));
  const row = (cells) => `| ${cells.join(' | ')} |`;
  const lines = [row(['denied', ...columns]), row(['---', ...columns.map(() => '---')])];
  for (const [name, of] of results) lines.push(row([name, ...columns.map((column) => of[column] ?? '')]));
  console.log(lines.join('\n'));
});
