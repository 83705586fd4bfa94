// Simulates networks that deny transports.
import { createSocket } from 'node:dgram';
import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { connect as connectTLS } from 'node:tls';
import { atEnd } from './harness.mjs';

/** Returns the transport of a request. */
function kindOf({ url, headers }) {
  const { searchParams } = new URL(url, 'http://x');
  if (headers.upgrade) return 'websocket';
  const transport = searchParams.get('transport');
  return transport === 'polling' && searchParams.has('j') ? 'jsonp' : transport;
}

const sidOf = ({ url }) => new URL(url, 'http://x').searchParams.get('sid');

// Resets a socket, but destroys one that is already ending: Node.js 20 never finishes resetting that, and cannot exit.
const reset = (socket) => (socket?.writableEnded ? socket.destroy() : socket?.resetAndDestroy());

const hopByHop = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade'];
const without = (headers, names) => Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));

/**
 * Starts a proxy in front of the server at url, for TCP and for UDP on the same port. denied maps a transport
 * to how the proxy denies it:
 *
 *   refused     it answers 403; nothing listens on the UDP port
 *   reset       it resets the connection when the request comes
 *   swallowed   it never answers
 *   buffered    it passes a response on only when that is complete, and strips the upgrade from a WebSocket's request
 *   cut: n      it resets the connection after n bytes of the response or of the data that follows
 *
 * You may change denied at any time. The proxy speaks plain HTTP, even if the server uses TLS.
 */
export async function network(t, url, denied = {}) {
  const target = new URL(url);
  const secure = target.protocol === 'https:';
  const agent = new (secure ? https : http).Agent({ keepAlive: true, rejectUnauthorized: false });
  const open = new Set();
  const self = {
    denied,
    /** The number of sessions begun over each kind. */
    begun: {},
    /** The kinds of the requests and WebSockets in progress. */
    get open() { return [...open].filter(({ response }) => !response?.socket?.destroyed).map(({ kind }) => kind); },
    cuts: 0, // made so far
    /** Resets the sse streams. */
    cutStreams() {
      for (const { kind, response } of open) if (kind === 'sse' && response.headersSent) { self.cuts++; reset(response.socket); }
    },
  };

  const listener = http.createServer((request, response) => {
    const kind = kindOf(request);
    const how = self.denied[kind];
    if (!sidOf(request)) self.begun[kind] = (self.begun[kind] ?? 0) + 1;
    const entry = { kind, response };
    open.add(entry);
    response.on('close', () => open.delete(entry)).on('error', () => {});
    request.on('error', () => {});
    if (how === 'reset') return reset(request.socket);
    if (how === 'refused') return response.writeHead(403, { 'Access-Control-Allow-Origin': '*' }).end('denied');
    if (how === 'swallowed') return request.resume();
    const there = (secure ? https : http).request({
      host: target.hostname, port: target.port, agent, method: request.method, path: request.url, headers: without(request.headers, hopByHop),
    }, (answer) => {
      const headers = without(answer.headers, hopByHop);
      answer.on('error', () => reset(request.socket));
      if (how === 'buffered') {
        const chunks = [];
        return answer.on('data', (chunk) => chunks.push(chunk)).on('end', () => response.writeHead(answer.statusCode, headers).end(Buffer.concat(chunks)));
      }
      response.writeHead(answer.statusCode, headers);
      if (kind === 'sse' || how?.cut !== undefined) response.flushHeaders();
      let left = how?.cut ?? Infinity;
      answer.on('data', (chunk) => {
        if (chunk.length < left) {
          left -= chunk.length;
          return response.write(chunk);
        }
        answer.removeAllListeners('data').resume();
        self.cuts++;
        // Let the data leave, then reset the connection.
        response.write(chunk.subarray(0, left), () => setTimeout(() => reset(request.socket), 5));
        left = 0;
      }).on('end', () => left > 0 && response.end());
    });
    there.on('error', () => reset(request.socket));
    response.on('close', () => there.destroy());
    request.pipe(there);
  });

  const pairs = new Set();
  listener.on('upgrade', (request, near, head) => {
    const how = self.denied.websocket;
    if (!sidOf(request)) self.begun.websocket = (self.begun.websocket ?? 0) + 1;
    near.on('error', () => {});
    const entry = { kind: 'websocket' };
    open.add(entry);
    near.on('close', () => open.delete(entry));
    if (how === 'reset') return reset(near);
    if (how === 'refused') return near.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nConnection: close\r\n\r\ndenied');
    if (how === 'swallowed') return near.resume();
    const far = secure ? connectTLS({ host: target.hostname, port: target.port, rejectUnauthorized: false }) : connect(target.port, target.hostname);
    pairs.add(far);
    far.on('error', () => {}).on('close', () => { pairs.delete(far); near.destroy(); });
    near.on('close', () => far.destroy());
    const drop = how === 'buffered' ? hopByHop : [];
    const lines = Object.entries(without(request.headers, drop)).map(([name, value]) => `${name}: ${value}`);
    far.write(`${[`${request.method} ${request.url} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`);
    far.write(head);
    near.pipe(far);
    let left = how?.cut ?? Infinity;
    far.on('data', (chunk) => {
      if (chunk.length < left) {
        left -= chunk.length;
        return near.write(chunk);
      }
      far.removeAllListeners('data').resume();
      self.cuts++;
      near.write(chunk.subarray(0, left), () => setTimeout(() => reset(near), 5));
    });
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address();

  // UDP: each client address has its own socket to the server.
  const flows = new Map();
  const udp = createSocket('udp4');
  if (denied.webtransport !== 'refused') await new Promise((resolve) => udp.bind(port, '127.0.0.1', resolve));
  udp.on('message', (message, from) => {
    const how = self.denied.webtransport;
    if (how === 'swallowed') return;
    const key = `${from.address}:${from.port}`;
    let flow = flows.get(key);
    if (!flow) {
      flow = { socket: createSocket('udp4'), left: how?.cut ?? Infinity };
      flow.socket.on('message', (answer) => {
        flow.left -= answer.length;
        if (flow.left > 0) udp.send(answer, from.port, from.address);
      });
      flows.set(key, flow);
    }
    flow.socket.send(message, Number(target.port), target.hostname);
  });

  atEnd(t, () => {
    listener.close();
    listener.closeAllConnections();
    for (const far of pairs) far.destroy();
    agent.destroy();
    for (const { socket } of flows.values()) socket.close();
    udp.close();
  });
  self.url = `http://127.0.0.1:${port}`;
  return self;
}
