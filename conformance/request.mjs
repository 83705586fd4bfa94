// Makes requests over HTTP/1.1 or HTTP/2, and uses them as a client would: for feeds, sse and polling.
import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { atEnd, PATIENCE } from './harness.mjs';

const { HTTP2_HEADER_METHOD: method, HTTP2_HEADER_PATH: path, HTTP2_HEADER_STATUS: status, HTTP2_HEADER_AUTHORITY: authority } = http2.constants;

/**
 * Resolves with a function that makes requests to a server. Each request has its own connection; with
 * h2, all share one HTTP/2 connection. The function resolves with the response: status, headers,
 * stream and text(). All requests end with the test, or when you call end().
 */
export async function requests(t, url, { h2 = false, ...connection } = {}) {
  const open = new Set();
  const answer = (code, headers, stream) => ({
    status: code, headers, stream, end: () => stream.destroy(),
    text: async () => { let all = ''; for await (const chunk of stream.setEncoding('utf8')) all += chunk; return all; },
  });
  let request;
  if (h2) {
    const session = http2.connect(url, connection).on('error', () => {});
    await once(session, 'connect');
    open.add(session);
    request = (to, { body, ...options } = {}) => new Promise((resolve, reject) => {
      const stream = session.request({ [method]: options.method ?? 'GET', [path]: to, [authority]: new URL(url).host, ...options.headers }, { endStream: body === undefined });
      stream.on('response', (headers) => resolve(answer(headers[status], headers, stream))).on('error', reject).end(body);
    });
  } else {
    request = (to, { body, ...options } = {}) => new Promise((resolve, reject) => {
      const { request: make } = url.startsWith('https') ? https : http;
      const outgoing = make(url + to, { agent: false, ...connection, ...options });
      open.add(outgoing);
      outgoing.on('close', () => open.delete(outgoing)).on('error', reject).end(body);
      outgoing.on('response', (incoming) => resolve(answer(incoming.statusCode, incoming.headers, incoming.on('error', () => {}))));
    });
  }
  request.end = () => { for (const one of open) one.destroy(); };
  atEnd(t, request.end);
  return request;
}

/** Reads the events of a response. It calls take with the fields of each event that has data. */
async function listen(request, to, lastEventId, take) {
  const response = await request(to, lastEventId === undefined ? {} : { headers: { 'Last-Event-ID': lastEventId } });
  const self = { status: response.status, headers: response.headers, comments: 0, last: lastEventId, end: response.end };
  let rest = '';
  const { stream } = response;
  stream.setEncoding('utf8').on('data', (chunk) => {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s)));
      if ('' in fields) self.comments++;
      if (fields.data !== undefined) take(fields);
      self.last = fields.id ?? self.last;
    }
  });
  self.ended = new Promise((resolve) => stream.on('close', resolve).on('error', resolve));
  return self;
}

/**
 * Reads a feed. events has the events so far, comments the number of comments, and last the id of the
 * last event. ended resolves when the response ends or fails.
 */
export async function feed(request, to, lastEventId) {
  const events = [];
  const self = await listen(request, to, lastEventId, (fields) => events.push({ ...fields, data: JSON.parse(fields.data) }));
  return Object.assign(self, { events });
}

/**
 * Begins a session over sse, joins the main namespace and answers pings. ended resolves when the stream ends.
 * failed is the error of the first pong that failed, or undefined.
 */
export async function streamer(request) {
  const query = '/socket.io/?EIO=4&transport=sse';
  let sid;
  const post = async (body) => {
    const response = await request(`${query}&sid=${sid}`, { method: 'POST', headers: { 'Content-Type': 'text/plain;charset=UTF-8' }, body });
    if (await response.text() !== 'ok') throw new Error(`status ${response.status}`);
  };
  let failed;
  const self = await listen(request, query, undefined, ({ data }) => {
    if (data[0] === '0') ({ sid } = JSON.parse(data.slice(1)));
    if (data === '2') post('3').catch((error) => { failed ??= error; });
  });
  await until(() => sid);
  await post('40');
  return Object.defineProperty(self, 'failed', { get: () => failed });
}

/**
 * Begins a session over polling, or over JSONP if j is set, and joins the main namespace. It answers pings
 * until the session ends or a request fails. packets has the packets received. failed is the error that
 * ended it, or undefined.
 */
export async function poller(request, { j } = {}) {
  const self = { packets: [], failed: undefined };
  const script = j !== undefined;
  const query = `/socket.io/?EIO=4&transport=polling${script ? `&j=${j}` : ''}`;
  const read = async (response) => {
    const text = await response.text();
    if (response.status !== 200) throw new Error(`status ${response.status}: ${text}`);
    return script ? JSON.parse(/^\/\*\*\/___eio\[\d+\]\((.*)\);$/s.exec(text)[1]) : text;
  };
  self.handshake = JSON.parse((await read(await request(query))).slice(1));
  const of = `${query}&sid=${self.handshake.sid}`;
  const type = script ? 'application/x-www-form-urlencoded' : 'text/plain;charset=UTF-8';
  self.post = (payload) => request(of, { method: 'POST', headers: { 'Content-Type': type }, body: script ? `d=${encodeURIComponent(payload)}` : payload });
  const taken = async (response) => { if (await response.text() !== 'ok') throw new Error(`status ${response.status}`); };
  await taken(await self.post('40'));
  (async () => {
    for (;;) {
      for (const packet of (await read(await request(of))).split('\x1e')) {
        if (packet === '2') await taken(await self.post('3'));
        else if (packet === '1') throw new Error('closed');
        else self.packets.push(packet);
      }
    }
  })().catch((error) => { self.failed = error; });
  return self;
}

/** Resolves when the condition holds. */
export async function until(what) {
  for (const start = Date.now(); !await what();) {
    if (Date.now() - start > PATIENCE) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

