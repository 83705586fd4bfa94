// A support desk: the binary in closed mode, and the people at it.
import { createHmac, randomBytes } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { atEnd, client, parley, PATIENCE, unlimited } from './harness.mjs';
import { until } from './request.mjs';

const binary = fileURLToPath(new URL('.bin/parley', import.meta.url));

/** Starts the binary with its own data directory. flags makes it a closed or an open one. */
export async function desk(t, ...flags) {
  const data = await mkdtemp(join(tmpdir(), 'parley-'));
  atEnd(t, () => rm(data, { recursive: true, force: true }));
  const start = () => parley(t, '--addr', '127.0.0.1:0', '--data', data, ...unlimited, ...flags);
  /** Runs a command on the data directory. Resolves with its exit code and output. */
  const command = (words, { input = '' } = {}) => new Promise((resolve) => {
    const child = execFile(binary, [...words, '--data', data], (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
    child.stdin.on('error', () => {}).end(input);
  });
  /** Resolves with the names of the files of the data directory that contain the text. */
  const filesWith = async (text) => {
    const names = await readdir(data, { recursive: true, withFileTypes: true });
    const found = [];
    for (const { parentPath, name } of names.filter((entry) => entry.isFile())) {
      if ((await readFile(join(parentPath, name))).includes(text)) found.push(name);
    }
    return found;
  };
  return { data, start, command, filesWith, ...(await start()) };
}

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Returns a function that signs tokens with HS256, as a site's own server does. */
export const signer = (secret) => ({ lasts = 3600, ...claims }) => {
  const now = Math.floor(Date.now() / 1000);
  const body = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ iat: now, exp: now + lasts, ...claims })}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
};

export const newSecret = () => randomBytes(32).toString('hex');

/** Posts JSON to an endpoint. Resolves with the answer, which has status and headers as well. */
export async function post(url, path, body, headers) {
  const response = await fetch(new URL(path, url), { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) });
  return { status: response.status, headers: response.headers, ...(await response.json()) };
}

export const bearer = (token) => ({ Authorization: `Bearer ${token}` });

/**
 * Connects somebody with an official client. events has what the server has told them, each as [name,
 * argument], and wire all text that has reached them.
 */
export async function person(t, url, options = {}) {
  const socket = client(t, url, { reconnection: false, ...options });
  const self = { socket, events: [], wire: '' };
  const emit = socket.onevent; // all generations of the client have this
  socket.onevent = (packet) => { self.events.push(packet.data); emit.call(socket, packet); };
  socket.io.on('open', () => { socket.io.engine.on('data', (data) => { self.wire += data; }); });
  self.ask = (event, ...args) => new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no answer to ${event}`)), PATIENCE);
    socket.emit(event, ...args, (answer) => { clearTimeout(late); resolve(answer); });
  });
  /** Asks for what must succeed. */
  self.does = async (event, ...args) => {
    const answer = await self.ask(event, ...args);
    assert.equal(answer?.error, undefined, `${event}: ${JSON.stringify(answer?.error)}`);
    return answer;
  };
  /** Asks for what must be refused with this code. Resolves with the error. */
  self.mayNot = async (code, event, ...args) => {
    const { error } = await self.ask(event, ...args);
    assert.deepEqual([error?.code, typeof error?.message], [code, 'string'], `${event} ${JSON.stringify(args)}`.slice(0, 300));
    return error;
  };
  /** Resolves with the first such event for which the condition holds, among those that came or will come. */
  self.hears = async (name, condition = () => true, from = 0) => {
    const find = () => self.events.slice(from).find(([event, argument]) => event === name && condition(argument));
    await until(function heard() { return find(); });
    return find()[1];
  };
  self.comes = async () => {
    const outcome = new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      const failed = (error) => reject(Object.assign(new Error(error.message ?? error), error.data ?? { code: error.code }));
      socket.once('connect_error', failed).once('error', failed);
    });
    if (!socket.connected && socket.disconnected && !socket.active) socket.connect();
    await outcome;
    self.id = socket.id;
    return self;
  };
  self.leaves = async () => { socket.disconnect(); };
  return self.comes();
}

/**
 * Keeps an operator's list of conversations as docs/protocol.md says: rows of the answer, then every
 * newer one; and it watches again when conversations were erased.
 */
export async function watch(operator, request = {}) {
  const rows = new Map();
  const take = (row) => { if (!(rows.get(row.roomId)?.change >= row.change)) rows.set(row.roomId, row); };
  const self = { rows, gone: [] };
  operator.socket.on('roomChanged', ({ room, position }) => { take(room); self.position = Math.max(self.position, position ?? 0); });
  operator.socket.on('roomGone', ({ roomId }) => { rows.delete(roomId); self.gone.push(roomId); });
  const begin = async (from) => {
    const answer = await operator.does('watchRooms', { ...request, ...from });
    if (answer.reset) rows.clear();
    Object.assign(self, answer, { rows });
    answer.rooms.forEach(take);
  };
  operator.socket.on('error', ({ event, code }) => {
    if (event === 'watchRooms' && code === 'gone') begin({ after: self.position, epoch: self.epoch });
  });
  await begin();
  /** Resolves with the row of a conversation once the condition holds for it. */
  self.row = async (roomId, condition = () => true) => {
    await until(function row() { return rows.has(roomId) && condition(rows.get(roomId)); });
    return rows.get(roomId);
  };
  return self;
}
