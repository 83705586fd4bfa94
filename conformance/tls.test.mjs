// Features that need TLS: WebSockets over HTTP/2 (RFC 8441), with Go's setting for it, and the page over
// WebTransport. It needs "npm ci" in js, and Chromium.
import assert from 'node:assert/strict';
import { newPage, useBrowser } from './browser.mjs';
import { parley, test } from './harness.mjs';

useBrowser();

for (const [name, GODEBUG, status] of [['offered', 'http2xconnect=1', 200], ['not offered', '', 101]]) {
  test(`WebSocket over HTTP/2 is ${name}`, async (t) => {
    process.env.GODEBUG = GODEBUG;
    const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', '--tls-self-signed');
    const page = await newPage(t);
    const handshakes = [];
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Network.enable');
    cdp.on('Network.webSocketHandshakeResponseReceived', ({ response }) => handshakes.push(response.status));
    await page.goto(`${url}/?transport=websocket`);
    await page.locator('#status[data-state="connected"]').waitFor();
    assert.deepEqual(handshakes, [status]);
    await page.fill('#composer', 'é€😀'.repeat(500));
    await page.press('#composer', 'Enter');
    await page.locator('.entry:not(.pending) .text', { hasText: 'é€😀' }).waitFor();
    const protocols = await page.evaluate(() => performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol));
    assert.deepEqual([...new Set(protocols)], ['h2']);
  });
}

test('the page over WebTransport, with the self-signed certificate', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', '--tls-self-signed');
  const page = await newPage(t);
  await page.goto(`${url}/?transport=webtransport`);
  await page.locator('#status-text', { hasText: 'Connected · WebTransport' }).waitFor();
});
