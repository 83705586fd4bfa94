// Runs the unchanged samples of README.md and docs/protocol.md in a busy room. They must show the page and
// then the live messages, in order, each once. js/room.js must do the same over each of its transports.
// It needs "npm ci" in js.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { before } from 'node:test';
import { io } from 'socket.io-client';
import { connect } from '../js/parley.js';
import { Room } from '../js/room.js';
import { atEnd, connected, count, parley, test, unlimited } from './harness.mjs';

const { WebSocket } = createRequire(new URL('../js/', import.meta.url))('ws');
const JOINS = 60;

const documents = {};
before(async () => {
  for (const name of ['README.md', 'docs/protocol.md']) documents[name] = await readFile(new URL(`../${name}`, import.meta.url), 'utf8');
});

/**
 * Returns the sample that contains a text, as a function. Its parameters are the names that the sample does not
 * declare. It returns the sample's function send, if there is one.
 */
function sample(document, contains, parameters) {
  const found = [...documents[document].matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code).filter((code) => code.includes(contains));
  assert.equal(found.length, 1, `samples of ${document} with "${contains}"`);
  const sends = found[0].includes('function send(') ? '\nreturn send;' : '';
  return new Function(...parameters, found[0].replace(/^import .*$/gm, '') + sends);
}

/** Starts a server with a room in which clients send messages until the test ends. */
async function busy(t) {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory', ...unlimited);
  const writer = await connected(t, url, { transports: ['websocket'] });
  await writer.emitWithAck('joinRoom', { roomId: 'support-42', userId: 'writer' });
  let n = 0, over = false;
  const write = async () => {
    while (!over) assert.equal((await writer.emitWithAck('sendMessage', { roomId: 'support-42', message: n++ })).error, undefined);
  };
  const writing = count(8).map(write);
  atEnd(t, async () => {
    over = true;
    await Promise.all(writing);
  });
  return url;
}

/**
 * Joins again and again. begin(shown) begins to show messages and returns a function that ends that. It calls
 * shown with the seqs of all messages shown, whenever they change.
 */
async function joins(begin) {
  for (let i = 0; i < JOINS; i++) {
    let end;
    await new Promise((resolve, reject) => {
      const cause = new Error(`join ${i + 1}`);
      end = begin((seqs) => {
        const wrong = seqs.findIndex((seq, at) => at > 0 && seq !== seqs[at - 1] + 1);
        if (wrong > 0) reject(new Error(`${seqs[wrong]} is shown after ${seqs[wrong - 1]}`, { cause }));
        // The page must be complete before live messages follow it.
        if (seqs.length < Math.min(50, seqs.at(-1))) reject(new Error(`${seqs} are shown first`, { cause }));
        if (seqs.length > 60) resolve();
      }, reject);
    }).finally(() => end());
  }
}

/** Makes a console for the samples. Each line that they log begins with a seq. An error that they log fails the test. */
function paper(shown, fail) {
  const seqs = [];
  let page; // the lines printed in one task are shown at once
  return {
    log(seq) {
      seqs.push(seq);
      page ??= setImmediate(() => { page = undefined; shown(seqs); });
    },
    error: (...words) => fail(new Error(words.join(' '))),
  };
}

for (const [way, options] of Object.entries({ websocket: { transports: ['websocket'] }, polling: { transports: ['polling'] } })) {
  test(`README.md (${way})`, async (t) => {
    const url = await busy(t);
    const run = sample('README.md', 'joinRoom', ['io', 'console']);
    await joins((shown, fail) => {
      let socket;
      run(() => { socket = io(url, { forceNew: true, ...options }); return socket; }, paper(shown, fail));
      return () => socket.disconnect();
    });
  });

  test(`docs/protocol.md (${way})`, async (t) => {
    const url = await busy(t);
    const run = sample('docs/protocol.md', 'emit(\'joinRoom\'', ['io', 'console', 'draw', 'crypto']);
    await joins((shown, fail) => {
      let socket;
      const draw = (messages) => shown(Object.keys(messages).map(Number));
      run(() => { socket = io(url, { forceNew: true, ...options }); return socket; }, paper(() => {}, fail), draw, crypto);
      return () => socket.disconnect();
    });
  });
}

test('docs/protocol.md: what is sent before connecting and during a break is stored once', async (t) => {
  const { url } = await parley(t, '--addr', '127.0.0.1:0', '--data', 'memory');
  const run = sample('docs/protocol.md', 'emit(\'joinRoom\'', ['io', 'console', 'draw', 'crypto']);
  let socket, drawn;
  const shown = new Promise((resolve, reject) => {
    const draw = (messages) => {
      drawn = messages.slice(1).map(({ message }) => message.text);
      if (drawn.includes('second') && drawn.includes('first')) resolve();
    };
    const send = run(() => { socket = io(url, { forceNew: true }); return socket; }, { error: (...words) => reject(new Error(words.join(' '))) }, draw, crypto);
    atEnd(t, () => socket.disconnect());
    send('first');
    socket.once('connect', () => {
      socket.disconnect();
      send('second');
      socket.connect();
    });
  });
  await shown;
  assert.deepEqual(drawn, ['first', 'second']);
});

for (const kind of ['websocket', 'sse', 'polling']) {
  test(`room.js (${kind})`, async (t) => {
    const url = await busy(t);
    const run = sample('docs/protocol.md', 'new Room(', ['connect', 'Room', 'show', 'clear']);
    await joins((shown, fail) => {
      let client;
      const { log } = paper(shown, fail);
      let cleared = 0;
      run(
        () => { client = connect(url, { transports: [kind], WebSocket }); return client; },
        Room,
        ({ seq }) => (cleared === 1 ? log(seq) : fail(new Error(`shown after ${cleared} pages`))),
        () => { cleared++; },
      );
      return () => client.close();
    });
  });
}
