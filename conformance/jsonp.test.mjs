// Clients in a browser: JSONP, and the binary payloads of Engine.IO 3. No client in Node.js requests
// those.
import assert from 'node:assert/strict';
import { open, useBrowser } from './browser.mjs';
import { generation } from './conversation.mjs';
import { serve, test } from './harness.mjs';

useBrowser();

for (const version of ['2.5.0', '4.0.2']) {
  for (const upgraded of [false, true]) {
    test(`JSONP${upgraded ? ', then WebSocket' : ''}, ${version}`, async (t) => {
      const { run, origin, faults, requests } = await open(t, { client: `client-${version}` });
      const { url } = await serve(t, '-legacy', '-origins', origin);
      const more = { forceJSONP: true, transports: upgraded ? ['polling', 'websocket'] : ['polling'] };
      assert.deepEqual(await run(generation, { url, more, kind: upgraded ? 'websocket' : 'polling' }), []);
      assert.deepEqual(faults, []);
      const polls = requests.filter((r) => r.url.startsWith(url) && r.method === 'GET');
      assert(polls.length > 0);
      for (const { type, headers } of polls) {
        assert.equal(type, 'script');
        assert.equal(headers['content-type'], 'text/javascript; charset=UTF-8');
        assert.equal(headers['x-content-type-options'], 'nosniff');
      }
    });
  }
}

test('binary payloads, 2.5.0', async (t) => {
  const { run, origin, faults, requests } = await open(t, { client: 'client-2.5.0' });
  const { url } = await serve(t, '-legacy', '-origins', origin);
  assert.deepEqual(await run(generation, { url, more: { transports: ['polling'] }, kind: 'polling' }), []);
  assert.deepEqual(faults, []);
  const types = requests.filter((r) => r.url.startsWith(url)).map((r) => r.headers['content-type']);
  assert(types.includes('application/octet-stream'), String(types));
});

for (const referrer of ['strict-origin-when-cross-origin', 'no-referrer']) {
  test(`JSONP of a page that is not allowed, ${referrer}`, async (t) => {
    const { page } = await open(t, { client: 'client-4.0.2' });
    const { url } = await serve(t, '-legacy', '-origins', 'https://friend.example');
    const connected = await page.evaluate(({ url, referrer }) => new Promise((resolve) => {
      document.head.insertAdjacentHTML('beforeend', `<meta name="referrer" content="${referrer}">`);
      const socket = io(url, { forceJSONP: true, transports: ['polling'], reconnection: false });
      socket.on('connect', () => resolve(true)).on('connect_error', () => resolve(false));
    }), { url, referrer });
    assert.equal(connected, false);
  });
}
