/**
 * A room as one value, for user interfaces: its messages in order, what is not sent yet, and its members.
 * Each change makes a new snapshot, so frameworks see it. subscribe is that of a Svelte store.
 *
 *   const live = new LiveRoom(client, { roomId: 'support-42', userId: 'ada' });
 *   const stop = live.subscribe(({ state, messages, drafts, members }) => draw(…)); // at once, and after each change
 *   live.send({ text: 'Hello' });
 *   await live.loadOlder();
 *
 * It keeps the newest 500 messages, and those that loadOlder has brought. The types are in live.d.ts.
 */
import { Outbox } from './outbox.js';
import { Room } from './room.js';
import { Timeline } from './timeline.js';

export class LiveRoom {
  /** For what is not here: conversation, notes, read, watch(). */
  room;
  #client;
  #limit;
  #outbox;
  #timeline = new Timeline();
  #kept = 500;
  #loading = null;
  #listeners = new Set();
  #snapshot = NOTHING;
  #stale = false;

  constructor(client, { storage, ...options }) {
    this.#client = client;
    this.#limit = options.limit;
    this.room = new Room(client, options);
    const change = () => this.#change();
    this.room.watch({
      onmessages: (messages, how) => this.#take(messages, how),
      onchanges: (messages) => { messages.forEach((message) => this.#timeline.change(message)); change(); },
      onmembers: change,
      onstate: change,
    });
    this.#outbox = new Outbox(this.room, { storage, onchange: change, onsent: (message) => this.#sent(message) });
    change();
  }

  /** {state, error, messages, drafts, members, count, hasOlder, loading}. The same object until something changes. */
  get snapshot() {
    if (this.#stale) {
      this.#stale = false;
      const { state, error, members, count } = this.room;
      this.#snapshot = {
        state, error, count, members: [...members.values()], messages: [...this.#timeline.messages], drafts: this.#outbox.drafts,
        hasOlder: this.#timeline.hasOlder, loading: this.#loading !== null,
      };
    }
    return this.#snapshot;
  }

  /** Calls a listener with the snapshot: at once, and once after all changes that come at once. Returns a function that ends this. */
  subscribe(listener) {
    const entry = { listener };
    this.#listeners.add(entry);
    listener(this.snapshot);
    return () => { this.#listeners.delete(entry); };
  }

  /** Sends a message, or keeps it until that is possible: see Outbox. */
  send = (message) => this.#outbox.send(message);
  retry = (clientId) => this.#outbox.retry(clientId);
  discard = (clientId) => this.#outbox.discard(clientId);

  /** Loads a page of older messages. Rejects with a ParleyError if the server refuses or does not answer. */
  loadOlder = () => this.#loading ?? this.#load();

  /** Leaves the room. Drafts stay in the storage. */
  leave() {
    this.#outbox.close();
    this.room.leave();
    this.#change();
  }

  #load() {
    const { oldest, epoch, hasOlder } = this.#timeline;
    if (!hasOlder || oldest === undefined) return Promise.resolve();
    const page = { roomId: this.room.roomId, before: oldest, limit: this.#limit };
    this.#loading = this.#client.timeout(TIMEOUT_MS).request('history', page).then((older) => {
      if (this.#timeline.epoch !== epoch || this.#timeline.oldest !== oldest) return; // other messages are here now
      older.messages.forEach((message) => this.#timeline.add(message));
      this.#timeline.hasOlder = older.hasMore && older.messages.length > 0;
      this.#kept += older.messages.length;
    }).finally(() => {
      this.#loading = null;
      this.#change();
    });
    this.#change();
    return this.#loading;
  }

  #take(messages, { reset, hasMore }) {
    const timeline = this.#timeline;
    if (reset) {
      timeline.reset(this.room.epoch);
      timeline.hasOlder = hasMore;
      this.#kept = 500;
    }
    messages.forEach((message) => timeline.add(message, { live: !reset }));
    const first = timeline.messages.at(-this.#kept) ?? timeline.messages[0];
    if (first) timeline.trim(first.seq, timeline.newest);
    this.#change();
  }

  /** A message that was stored long ago, before the server's answer was lost, does not come as a live one. */
  #sent(message) {
    if (message.seq > this.room.lastSeq) return;
    this.#timeline.add(message, { live: true });
    this.#change();
  }

  #change() {
    if (this.#stale) return;
    this.#stale = true;
    queueMicrotask(() => this.#tell());
  }

  #tell() {
    for (const { listener } of [...this.#listeners]) {
      try {
        listener(this.snapshot);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/** The snapshot before there is a room, as on a server that renders pages. */
export const NOTHING = Object.freeze({
  state: 'waiting', error: null, messages: Object.freeze([]), drafts: Object.freeze([]), members: Object.freeze([]), count: 0, hasOlder: false, loading: false,
});

/** Longer than the 10 s after which the server reports that its store does not answer. */
const TIMEOUT_MS = 15_000;
