// The page below a path of another site. The proxy strips that path.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { newPage, useBrowser } from './browser.mjs';
import { front, proxies, replace } from './front.mjs';
import { atEnd, connected, parley, test } from './harness.mjs';

useBrowser();

/** Forwards requests below a path to the server at url, without that path. */
async function below(t, path, url) {
  const pass = ({ method, url: target, headers }, answer) => {
    if (!target.startsWith(path)) return null;
    return request(new URL(target.slice(path.length - 1), url), { method, headers }, answer);
  };
  const server = createServer((request, response) => {
    const onward = pass(request, (answer) => answer.pipe(response.writeHead(answer.statusCode, answer.headers)));
    if (onward) request.pipe(onward.on('error', () => response.destroy()));
    else response.writeHead(404).end();
  });
  server.on('upgrade', (request, socket) => {
    const onward = pass(request);
    if (!onward) return socket.destroy();
    onward.on('upgrade', ({ rawHeaders }, far, head) => {
      const lines = rawHeaders.flatMap((name, i) => (i % 2 ? [] : [`${name}: ${rawHeaders[i + 1]}\r\n`]));
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`);
      socket.write(head);
      socket.pipe(far).pipe(socket);
      for (const one of [socket, far]) one.on('error', () => { socket.destroy(); far.destroy(); });
    });
    onward.on('error', () => socket.destroy()).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}${path}`;
}

for (const flags of [[], ['--path', '/deep/io/']]) {
  test(`the page works below a path ${flags.join(' ')}`, async (t) => {
    const server = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', ...flags);
    for (const query of ['', '?transport=polling', '?transport=sse', '?transport=websocket']) {
      const page = await newPage(t);
      const lost = [];
      page.on('response', (response) => { if (response.status() >= 400) lost.push(`${response.status()} ${response.url()}`); });
      await page.goto(`${await below(t, '/sites/chat/', server.url)}${query}#room`);
      const mine = `hello ${query}`;
      await page.locator('#status[data-state=connected]').waitFor();
      await page.locator('#composer').fill(mine);
      await page.keyboard.press('Enter');
      await page.locator('#log', { hasText: mine }).waitFor();
      assert.deepEqual(lost, []);
    }
  });
}

test('behind nginx, configured as in docs/proxies.md', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
  const changed = (text) => replace(replace(text, 'location / {', 'location /chat/ {'), 'proxy_pass http://parley;', 'proxy_pass http://parley/;');
  const { http } = await front(t, proxies.nginx, url, changed);
  const page = await newPage(t);
  await page.goto(`${http}/chat#r`);
  await page.locator('#status', { hasText: 'Connected · WebSocket' }).waitFor();
  assert.equal(new URL(page.url()).pathname, '/chat/');
  const socket = await connected(t, http, { path: '/chat/socket.io/' });
  await socket.emitWithAck('joinRoom', { roomId: 'r', userId: 'u' });
  await socket.emitWithAck('sendMessage', { roomId: 'r', message: 'below' });
  await page.locator('.entry', { hasText: 'below' }).waitFor();
});
