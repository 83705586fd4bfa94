// Two tabs write through js/outbox.js into one room, while they are reloaded and the server is killed. In the
// end everything is stored once, and what one of them wrote is in its order.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { connect } from '../js/parley.js';
import { Outbox } from '../js/outbox.js';
import { Room } from '../js/room.js';
import { MemoryStorage } from '../js/testdata/storage.mjs';
import { atEnd, count, parley, soak, test, unlimited } from './harness.mjs';

const { WebSocket } = createRequire(new URL('../js/', import.meta.url))('ws');
const MESSAGES = soak(150, 5000); // of each tab
const EVERY = 25; // stored messages until the server is killed, or the tab that stored the last one is reloaded

for (const kind of ['websocket', 'polling']) {
  test(`unsent messages, reloads and kills (${kind})`, async (t) => {
    const data = mkdtempSync(`${tmpdir()}/parley-outbox-`);
    atEnd(t, () => rmSync(data, { recursive: true, force: true, maxRetries: 5 }));
    let server = await parley(t, '--addr', '127.0.0.1:0', '--data', data, ...unlimited);
    const { url } = server;
    const storage = new MemoryStorage();
    let stored = 0, restarting = null, kills = 0, reloads = 0;
    let done;
    const finished = new Promise((resolve) => { done = resolve; });

    const tabs = [];
    const look = () => { if (tabs.length === 2 && tabs.every(({ written }) => written === MESSAGES) && storage.length === 0) done(); };

    class Tab {
      written = 0;
      constructor(name) { this.name = name; this.open(); }
      open() {
        this.client = connect(url, { transports: [kind], WebSocket, reconnection: { delay: 10, max: 50 }, timeouts: { connect: 60_000 } });
        this.room = new Room(this.client, { roomId: 'r', userId: 'ada' });
        this.outbox = new Outbox(this.room, { storage, limit: 2 * MESSAGES, onsent: () => this.sent(), onchange: look });
        for (let n = 0; n < 5; n++) this.write();
      }
      close() {
        this.outbox.close();
        this.client.close();
      }
      write() {
        if (this.written < MESSAGES) this.outbox.send(`${this.name}${this.written++}`);
      }
      sent() {
        stored++;
        this.write();
        if (stored % (2 * EVERY) === 0) restarting ??= restart();
        else if (stored % EVERY === 0) {
          reloads++;
          this.close();
          this.open();
        }
        look();
      }
    }

    async function restart() {
      kills++;
      await server.stop('SIGKILL');
      tabs.forEach((tab) => tab.write());
      server = await parley(t, '--addr', new URL(url).host, '--data', data, ...unlimited);
      restarting = null;
    }

    tabs.push(new Tab('a'), new Tab('b'));
    atEnd(t, () => tabs.forEach((tab) => tab.close()));
    await finished;
    await restarting;

    const reader = connect(url, { transports: [kind], WebSocket });
    atEnd(t, () => reader.close());
    const texts = [];
    await reader.request('joinRoom', { roomId: 'r', userId: 'bob' });
    for (let after = 0, more = true; more;) {
      const page = await reader.request('history', { roomId: 'r', after });
      texts.push(...page.messages.map(({ message }) => message));
      after = page.messages.at(-1)?.seq;
      more = page.hasMore;
    }
    for (const name of ['a', 'b']) {
      assert.deepEqual(texts.filter((text) => text.startsWith(name)), count(MESSAGES).map((n) => `${name}${n}`));
    }
    assert.equal(texts.length, 2 * MESSAGES);
    assert.ok(kills > 1 && reloads > 1, `${kills} kills, ${reloads} reloads`);
  });
}
