// Each transport of js/parley.js and js/transports.js, with parley.js and with the official client,
// in Node.js and in Chromium. It needs "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { open, useBrowser } from './browser.mjs';
import * as talk from './conversation.mjs';
import { atEnd, connected, count, next, PATIENCE, serve, test } from './harness.mjs';
import { network } from './network.mjs';

const fromJS = createRequire(new URL('../js/', import.meta.url));
const { WebSocket } = fromJS('ws');

useBrowser();

/** Where clients run. run(f, argument) calls f there with the module conversation.mjs and the argument. */
const places = {
  'Node.js': async (t) => {
    const clients = [];
    const dial = (options) => { const client = talk.dial(options, { io, WebSocket }); clients.push(client); return client; };
    atEnd(t, () => clients.forEach((client) => client.close()));
    return { run: (f, argument) => f({ ...talk, dial }, argument), left: async () => [], faults: [] };
  },
  Chromium: async (t) => {
    const page = await open(t);
    return { ...page, left: () => page.run(elements) };
  },
};
/** Runs in the page. Waits a moment and returns the frames, forms and scripts that clients have left in it. */
async function elements() {
  const all = () => [...document.querySelectorAll('iframe, form, script:not([src*="socket.io"])')];
  for (let i = 0; i < 100 && all().length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  return all().map((node) => node.outerHTML);
}

const kinds = { 'Node.js': ['websocket', 'sse', 'polling'], Chromium: ['webtransport', 'websocket', 'sse', 'polling', 'jsonp'] };

/** Flags with which no ping comes during a test. */
const still = ['-ping-interval', '1h', '-ping-timeout', '1h'];

/** Starts a network in front of a server with these transports. For WebTransport, the result has the hash of the certificate. */
async function front(t, ...kinds) {
  const quic = kinds.includes('webtransport');
  const server = await serve(t, '-legacy', ...still, ...quic ? ['-webtransport'] : []);
  return { between: await network(t, server.url), hash: quic && server.out().split('\n')[0] };
}

/** Resolves when the network has no requests or WebSockets in progress. */
async function quiet(between) {
  const end = Date.now() + PATIENCE;
  while (between.open.length > 0) {
    assert.ok(Date.now() < end, `still open: ${between.open}`);
    await sleep(10);
  }
}

/** Defines one test for each client and each place. */
function each(name, run, { at = Object.keys(places) } = {}) {
  for (const place of at) {
    for (const client of ['own', 'official']) {
      test(`${name}: ${client}, ${place}`, async (t) => {
        const here = await places[place](t);
        await run(t, { ...here, client, place });
        assert.deepEqual(here.faults, []);
      });
    }
  }
}

for (const kind of kinds.Chromium) {
  each(`${kind}, alone`, async (t, { client, run, left }) => {
    const { between, hash } = await front(t, kind);
    const { faults, whoami } = await run(async ({ dial, arrived, converse, traffic, ask }, options) => {
      const client = dial(options);
      await arrived(client, options.kinds[0]);
      const faults = [...await converse(client), ...await traffic(client)];
      const [whoami] = await ask(client, 'whoami');
      client.close();
      return { faults, whoami };
    }, { client, url: between.url, kinds: [kind], hash });
    assert.deepEqual(faults, []);
    assert.equal(whoami.transport, kind === 'jsonp' ? 'polling' : kind);
    await quiet(between); // closing has ended the polls, since no ping is due
    assert.deepEqual(await left(), []);
  }, { at: Object.keys(places).filter((place) => kinds[place].includes(kind)) });
}

for (const [kind, better] of [['sse', 'websocket'], ['jsonp', 'websocket'], ['sse', 'webtransport'], ['polling', 'webtransport']]) {
  each(`${kind}, upgraded to ${better} under traffic`, async (t, { client, run, left }) => {
    const { between, hash } = await front(t, kind, better);
    for (const i of count(3)) {
      const faults = await run(async ({ dial, next, traffic, arrived, ask }, { i, better, ...options }) => {
        const client = dial(options);
        const stays = [];
        client.socket.on('disconnect', (reason) => stays.push(`disconnect: ${reason}`));
        await next(client, 'connect');
        const faults = await traffic(client, 150, i);
        await arrived(client, better);
        const [{ transport }] = await ask(client, 'whoami');
        if (transport !== better) faults.push(`the server says ${transport}`);
        faults.push(...stays);
        client.close();
        return faults;
      }, { i, better, client, url: between.url, kinds: [kind, better], upgrade: true, hash });
      assert.deepEqual(faults, []);
    }
    await quiet(between);
    assert.deepEqual(await left(), []);
  }, { at: Object.keys(places).filter((place) => kinds[place].includes(kind) && kinds[place].includes(better)) });
}

// The network cuts each stream after a random number of bytes.
each('sse, cut again and again', async (t, { client, run }) => {
  const between = await network(t, (await serve(t)).url, { get sse() { return { cut: 200 + Math.floor(Math.random() * 1200) }; } });
  const { faults, stays, ids } = await run(async ({ dial, arrived, traffic, ask }, options) => {
    const client = dial(options);
    const stays = [];
    client.socket.on('disconnect', (reason) => stays.push(`disconnect: ${reason}`));
    await arrived(client, 'sse');
    const before = client.socket.id;
    const faults = await traffic(client, 200, 3);
    const [{ id, transport }] = await ask(client, 'whoami');
    return { faults, stays, ids: [before, client.socket.id, id], transport };
  }, { client, url: between.url, kinds: ['sse'] });
  t.diagnostic(`${between.cuts} cuts`);
  assert.deepEqual([faults, stays], [[], []]);
  assert.equal(new Set(ids).size, 1);
  assert.ok(between.cuts > 10, `${between.cuts} cuts`);
});

// The network resets the stream at various points of the upgrade.
each('sse, cut while it is upgraded', async (t, { client, run }) => {
  const between = await network(t, (await serve(t)).url);
  for (const i of count(5)) {
    const cutting = setInterval(() => between.cutStreams(), 7 + i);
    const faults = await run(async ({ dial, next, traffic, arrived }, options) => {
      const client = dial(options);
      const stays = [];
      client.socket.on('disconnect', (reason) => stays.push(`disconnect: ${reason}`));
      await next(client, 'connect');
      const faults = [...await traffic(client, 100, 1), ...stays];
      await arrived(client, 'websocket');
      client.close();
      return faults;
    }, { client, url: between.url, kinds: ['sse', 'websocket'], upgrade: true });
    clearInterval(cutting);
    assert.deepEqual(faults, []);
  }
  assert.ok(between.cuts > 0);
}, { at: ['Node.js'] });

for (const kind of ['sse', 'jsonp']) {
  each(`${kind}: either side closes, and the other learns of it`, async (t, { client, run, left }) => {
    const server = await serve(t, '-legacy', ...still);
    const between = await network(t, server.url);
    const watcher = await connected(t, server.url, { transports: ['websocket'] });
    await watcher.emitWithAck('join', 'watchers');

    const gone = next(watcher, 'left');
    const options = { client, url: between.url, kinds: [kind] };
    const id = await run(async ({ dial, arrived }, options) => {
      const client = dial(options);
      await arrived(client, options.kinds[0]);
      const { id } = client.socket;
      client.close();
      return id;
    }, options);
    assert.equal(await gone, id);
    await quiet(between);

    const reasons = await run(async ({ dial, arrived, next }, options) => {
      const client = dial(options);
      const reasons = [];
      for (const close of [false, true]) {
        await arrived(client, options.kinds[0]);
        client.socket.emit('disconnect-me', close);
        reasons.push((await next(client, 'disconnect'))[0]);
        client.socket.connect();
      }
      globalThis.kept = client;
      await arrived(client, options.kinds[0]);
      return reasons;
    }, options);
    assert.deepEqual(reasons, ['io server disconnect', 'io server disconnect']);

    const lost = run(async ({ next }) => (await next(globalThis.kept, 'disconnect'))[0]);
    await sleep(100);
    await server.stop('SIGTERM');
    assert.match(await lost, /^transport (close|error)$/);
    await run(() => { globalThis.kept.close(); });
    await quiet(between);
    assert.deepEqual(await left(), []);
  }, { at: kind === 'sse' ? ['Node.js', 'Chromium'] : ['Chromium'] });
}

each('sse: reconnects after the server has restarted', async (t, { client, run }) => {
  const first = await serve(t);
  await run(async ({ dial, arrived }, options) => {
    globalThis.kept = dial(options);
    await arrived(globalThis.kept, 'sse');
  }, { client, url: first.url, kinds: ['sse'] });
  const lost = run(async ({ next }) => { await next(globalThis.kept, 'disconnect'); });
  await first.stop();
  const second = serve(t, '-port', new URL(first.url).port); // does not know the session
  await Promise.all([lost, second]);
  const faults = await run(async ({ arrived, traffic }) => {
    await arrived(globalThis.kept, 'sse');
    return traffic(globalThis.kept, 50);
  });
  assert.deepEqual(faults, []);
  await run(() => { globalThis.kept.close(); });
});

each('jsonp with another server', async (t, { client, run }) => {
  const { Server } = fromJS('socket.io');
  const http = createServer();
  const server = new Server(http, { connectTimeout: 5000 });
  server.on('connection', (socket) => {
    socket.on('message', (...args) => socket.emit('message-back', ...args));
    socket.on('message-with-ack', (...args) => args.pop()(...args));
    socket.on('ask', async (ms, ...args) => args.pop()(...await new Promise((resolve) => socket.emit('question', args[0], (...answer) => resolve(answer)))));
    socket.on('nth', (n, key, done) => done(n));
    socket.on('stream', async ({ count, every }, done) => {
      for (let n = 0; n < count; n++) {
        socket.emit('tick', n);
        await sleep(every / 1000);
      }
      done();
    });
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => { server.close(); http.closeAllConnections(); });
  const faults = await run(async ({ dial, arrived, converse, traffic }, options) => {
    const client = dial(options);
    await arrived(client, 'jsonp');
    const faults = [...await converse(client), ...await traffic(client)];
    client.close();
    return faults;
  }, { client, url: `http://127.0.0.1:${http.address().port}`, kinds: ['jsonp'] });
  assert.deepEqual(faults, []);
}, { at: ['Chromium'] });

for (const client of ['own', 'official']) {
  test(`a page whose policy forbids connections: JSONP with forms: ${client}`, async (t) => {
    const { run, faults } = await open(t, { policy: "default-src 'self'; script-src * 'unsafe-inline'; connect-src 'none'; form-action *; frame-src *" });
    const between = await network(t, (await serve(t, '-legacy', ...still)).url);
    const wrong = await run(async ({ dial, arrived, converse, traffic }, options) => {
      const client = dial(options);
      await arrived(client, 'jsonp');
      const wrong = [...await converse(client), ...await traffic(client, 50)];
      client.close();
      return wrong;
    }, { client, url: between.url, kinds: ['websocket', 'sse', 'polling', 'jsonp'] });
    assert.deepEqual(wrong, []);
    await quiet(between);
    assert.deepEqual(await run(elements), []);
    assert.deepEqual(faults, []);
  });

  test(`JSONP does not block the page, and leaves nothing if it does not open: ${client}`, async (t) => {
    const { run } = await open(t);
    const between = await network(t, (await serve(t, '-legacy', ...still)).url, { jsonp: 'swallowed' });
    await run(async ({ dial, next }, options) => {
      const client = dial(options);
      await next(client, 'connect_error');
      client.close();
    }, { client, url: between.url, kinds: ['jsonp'], brief: { jsonp: 300 } });
    await quiet(between);
    assert.deepEqual(await run(elements), []);
  });
}
