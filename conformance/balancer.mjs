// A proxy without sticky sessions, and servers behind it.
import { Agent, createServer, request as ask } from 'node:http';
import { connect } from 'node:net';
import { atEnd, serve } from './harness.mjs';

/** Starts n servers of a cluster that pass requests on to each other. They have an url and a tag. */
export async function servers(t, n, ...flags) {
  const { out } = await serve(t, '-nodes', n, ...flags);
  while (!out().includes('ready')) await new Promise((resolve) => setTimeout(resolve, 10));
  const all = [...out().matchAll(/^(http:\S+) (\S{4})$/gm)].map(([, url, tag]) => ({ url, tag }));
  /** Adds up a counter of all servers. */
  all.total = async (what) => (await Promise.all(all.map(async ({ url }) => (await (await fetch(`${url}/stats`)).json())[what]))).reduce((a, b) => a + b);
  return all;
}

/**
 * Starts a proxy that sends each request to the next of the servers. refusals has the bodies of the answers
 * that refuse a request.
 */
export async function balancer(t, all) {
  let turn = 0;
  const refusals = [];
  const agent = new Agent({ keepAlive: true });
  const next = () => new URL(all[turn++ % all.length].url);
  const open = new Set();
  const listener = createServer((request, response) => {
    const { hostname, port } = next();
    const outgoing = ask({ hostname, port, agent, method: request.method, path: request.url, headers: request.headers }, (incoming) => {
      response.writeHead(incoming.statusCode, incoming.headers);
      response.flushHeaders();
      if (incoming.statusCode >= 400) incoming.on('data', (chunk) => refusals.push(String(chunk)));
      incoming.on('error', () => response.destroy()).pipe(response);
    }).on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    request.on('error', () => {}).pipe(outgoing);
  });
  listener.on('upgrade', (request, socket, head) => {
    const { hostname, port } = next();
    const server = connect(port, hostname);
    const lines = request.rawHeaders.map((value, i) => (i % 2 ? `${value}\r\n` : `${value}: `)).join('');
    server.write(`GET ${request.url} HTTP/1.1\r\n${lines}\r\n`);
    server.write(head);
    server.once('data', (chunk) => { if (!chunk.toString('latin1').startsWith('HTTP/1.1 101')) refusals.push(String(chunk)); });
    server.pipe(socket).pipe(server);
    for (const [a, b] of [[server, socket], [socket, server]]) a.on('error', () => b.destroy()).on('close', () => b.destroy());
  });
  listener.on('connection', (socket) => { open.add(socket); socket.on('close', () => open.delete(socket)); });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    for (const socket of open) socket.destroy();
    agent.destroy();
    return new Promise((resolve) => listener.close(resolve));
  });
  return { url: `http://127.0.0.1:${listener.address().port}`, refusals };
}
