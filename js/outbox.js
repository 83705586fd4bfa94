/**
 * The messages of one user in one room that the server has not stored yet. It sends them in order,
 * one after the other, whenever the room is joined, and keeps each until it is acknowledged.
 *
 *   const room = new Room(client, { roomId: 'support-42', userId: 'ada', onmessages });
 *   const outbox = new Outbox(room, { onchange() { showPending(outbox.drafts); } });
 *   outbox.send({ text: 'Hello' });
 *
 * Drafts are in sessionStorage: they survive a reload, and end with the tab. That is the default because
 * others may use the same machine. localStorage keeps them for longer and for all tabs: pass it as `storage` if
 * every user has a machine or a profile of their own. null keeps nothing. A draft ends after `maxAge`, and leaves the
 * storage as soon as it is stored by the server or discarded. When a user signs out, call Outbox.clear(storage).
 *
 * A draft belongs to the user who wrote it: to userId or operatorId of the room or, if it names neither, to who
 * the server says you are. (So an operator who writes in a user's conversation names operatorId.) Guests have a new id with each connection, so their drafts are not kept.
 *
 * Several tabs may send the same draft. It has the same clientId in all of them, so the server stores it once.
 * The types are in outbox.d.ts.
 */
import { ParleyError, backoff, encode } from './parley.js';
import { draftId, personKey } from './timeline.js';

export class Outbox {
  /** In the order in which they are sent: {clientId, message, at, error?}. One with an error waits for retry or discard. Each change makes a new array. */
  drafts = [];
  #room;
  #storage;
  #limit;
  #maxAge;
  #handlers;
  #user; // who wrote the drafts. Undefined before that is known, null for guests
  #claimed; // whom the room named
  #sent = new Set(); // clientIds of drafts that are stored, and that the room has yet to deliver
  #sending = null; // the clientId of the draft that is being sent
  #attempt = 0;
  #timer = null; // until the next attempt
  #unwatch;

  constructor(room, { storage = sessionStorageOf(), limit = 100, maxAge = DAY_MS, ...handlers } = {}) {
    this.#room = room;
    this.#storage = storage;
    this.#limit = limit;
    this.#maxAge = maxAge;
    this.#handlers = handlers;
    this.#unwatch = room.watch({
      onmessages: (messages) => this.#delivered(messages),
      onchanges: (messages) => this.#delivered(messages),
      onstate: (state) => { if (state === 'joined') this.#joined(); },
    });
    globalThis.addEventListener?.('storage', this.#elsewhere);
    for (const [key, draft] of entries(storage, PREFIX)) if (!draft) attempt(() => storage.removeItem(key));
    this.#claim();
    if (room.state === 'joined') queueMicrotask(() => this.#joined());
  }

  /** Sends a message, or keeps it until that is possible. Returns its clientId. Throws a ParleyError with the code buffer_full if `limit` drafts wait. */
  send(message) {
    this.#claim();
    if (this.drafts.length >= this.#limit) throw new ParleyError('buffer_full', `${this.#limit} messages already wait to be sent`);
    const binary = encode({ type: 2, data: [message] }).length > 1; // throws if it cannot be sent
    const at = Math.max(Date.now(), (this.drafts.at(-1)?.at ?? 0) + 1); // it says the order, also within a millisecond
    const draft = { clientId: draftId(), message, at, ...(binary && { binary }) };
    this.#keep(draft);
    this.#change([...this.drafts, draft]);
    this.#next();
    return draft.clientId;
  }

  /** Sends a draft again that the server has refused. */
  retry(clientId) {
    this.#mark(clientId, undefined);
    this.#next();
  }

  /** Drops a draft. If it is being sent, the server may store it anyway. */
  discard(clientId) {
    this.#remove([clientId]);
  }

  /** Ends the outbox. What is not sent stays in the storage, for the next outbox of this user in this room. */
  close() {
    this.#unwatch();
    globalThis.removeEventListener?.('storage', this.#elsewhere);
    clearTimeout(this.#timer);
    this.#room = null;
  }

  /** Removes the drafts of all users and rooms from a storage. */
  static clear(storage = sessionStorageOf()) {
    for (const [key] of entries(storage, PREFIX)) storage.removeItem(key);
  }

  #joined() {
    if (!this.#room) return;
    const { member } = this.#room;
    const guest = !member.operatorId && (!member.userId || member.userId.startsWith('guest-'));
    this.#belong(guest ? null : personKey(member));
    this.#remove([...this.#sent]); // the page had them, or there is more since than a page has
    this.#attempt = 0;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#next();
  }

  /** Believes who the room says you are, until the server says more. */
  #claim() {
    const { userId, operatorId } = this.#room.who;
    if (this.#claimed === JSON.stringify([userId, operatorId])) return;
    this.#claimed = JSON.stringify([userId, operatorId]);
    if (userId || operatorId) this.#belong(personKey({ userId, operatorId }));
  }

  /** Takes the drafts that the storage has of a user. The drafts of another user go out of sight. */
  #belong(user) {
    const before = this.#user;
    const stranger = before && user !== before;
    this.#user = user;
    const here = stranger ? [] : this.drafts;
    if (!before) here.forEach((draft) => this.#keep(draft)); // they were written before it was known by whom
    const known = new Set(here.map(({ clientId }) => clientId));
    const kept = user ? entries(this.#storage, this.#prefix).map(([, draft]) => draft).filter((draft) => draft && !known.has(draft.clientId)) : [];
    if (stranger || kept.length > 0) {
      const inOrder = (a, b) => a.at - b.at || (a.clientId < b.clientId ? -1 : 1);
      this.#change([...here, ...kept].sort(inOrder).slice(0, Math.max(this.#limit, here.length)));
    }
  }

  get #prefix() { return `${PREFIX}${JSON.stringify([this.#room.roomId, this.#user])} `; }

  #keep({ binary, ...draft }) {
    if (this.#user && !binary) attempt(() => this.#storage?.setItem(this.#prefix + draft.clientId, JSON.stringify({ ...draft, until: draft.at + this.#maxAge })));
  }

  /** Another tab has sent or discarded a draft, or has cleared the storage. */
  #elsewhere = ({ storageArea, key, oldValue, newValue }) => {
    if (storageArea !== this.#storage || newValue !== null || !this.#user) return;
    if (key === null) this.#change(this.drafts.filter(({ binary }) => binary));
    else if (key.startsWith(this.#prefix) && parse(key, oldValue)) this.#change(this.drafts.filter(({ clientId }) => !key.endsWith(` ${clientId}`)));
  };

  #delivered(messages) {
    this.#remove(messages.map(({ clientId }) => clientId));
  }

  #remove(clientIds) {
    const gone = this.drafts.filter(({ clientId }) => clientIds.includes(clientId));
    for (const { clientId } of gone) this.#forget(clientId);
    for (const { clientId } of gone) this.#sent.delete(clientId);
    if (gone.length > 0) this.#change(this.drafts.filter((draft) => !gone.includes(draft)));
  }

  #forget(clientId) {
    if (this.#user) attempt(() => this.#storage?.removeItem(this.#prefix + clientId));
  }

  #mark(clientId, error) {
    this.#change(this.drafts.map((draft) => {
      if (draft.clientId !== clientId) return draft;
      const { error: was, ...rest } = draft;
      const marked = error ? { ...rest, error } : rest;
      this.#keep(marked);
      return marked;
    }));
  }

  #change(drafts) {
    this.drafts = drafts;
    this.#tell('onchange', drafts);
  }

  /** Calls a handler. If it throws, the error is reported as uncaught and the outbox goes on. */
  #tell(name, value) {
    try {
      this.#handlers[name]?.(value);
    } catch (error) {
      queueMicrotask(() => { throw error; });
    }
  }

  /** Sends the first draft that is not sent yet, unless one is under way. */
  #next() {
    const room = this.#room;
    if (this.#sending || this.#timer !== null || room?.state !== 'joined' || !room.client.connected) return;
    const draft = this.drafts.find(({ clientId, error }) => !error && !this.#sent.has(clientId));
    if (!draft) return;
    const { clientId, message } = draft;
    const user = this.#user;
    this.#sending = clientId;
    room.client.timeout(TIMEOUT_MS).emit('sendMessage', { roomId: room.roomId, message, clientId }, (error, stored) => {
      this.#sending = null;
      if (!this.#room || user !== this.#user) return this.#next();
      if (!error) this.#stored(clientId, stored);
      else if (AGAIN.has(error.code)) this.#again(error);
      else if (!WITH_THE_CONNECTION.has(error.code)) this.#mark(clientId, { code: error.code, message: error.message });
      this.#next();
    });
  }

  #stored(clientId, stored) {
    this.#attempt = 0;
    this.#forget(clientId);
    if (stored.seq > this.#room.lastSeq) this.#sent.add(clientId); // it is shown as a draft until the room delivers it
    else this.#remove([clientId]);
    this.#tell('onsent', stored);
  }

  #again({ code, data }) {
    const wait = Math.max(backoff(this.#attempt++, { max: 30_000 }), (data?.retryAfter ?? 0) * 1000);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (code === 'not_joined') this.#room.join();
      this.#next();
    }, wait);
  }
}

const PREFIX = 'parley.outbox ';

const DAY_MS = 86_400_000;

/** Longer than the 10 s after which the server reports that its store does not answer. */
const TIMEOUT_MS = 15_000;

/** The server may take the message later, or has it already. */
const AGAIN = new Set(['timeout', 'unavailable', 'unknown_outcome', 'rate_limited', 'not_ready', 'not_joined', 'buffer_full']);

/** The connection is lost, or will be: the drafts wait until the room is joined again. */
const WITH_THE_CONNECTION = new Set(['disconnected', 'closed', 'token_expired']);

/** Does something with a storage. If that is blocked or full, the drafts are in memory only. */
function attempt(use) {
  try { return use(); } catch { return undefined; }
}

function sessionStorageOf() {
  return attempt(() => globalThis.sessionStorage) ?? null;
}

/** Returns the drafts in a storage, with their keys. Undefined stands for what is not a draft, or no longer one. */
function entries(storage, prefix) {
  const keys = attempt(() => Array.from({ length: storage.length }, (_, i) => storage.key(i))) ?? [];
  return keys.filter((key) => key.startsWith(prefix)).map((key) => [key, attempt(() => parse(key, storage.getItem(key)))]);
}

/** Any page of the origin may have written there. */
function parse(key, json) {
  const { until, ...draft } = attempt(() => JSON.parse(json)) ?? {};
  const { clientId, at, error } = draft;
  const valid = typeof clientId === 'string' && /^[\w.:-]{1,128}$/.test(clientId) && key.endsWith(` ${clientId}`) && 'message' in draft
    && Number.isFinite(at) && until > Date.now() && (error === undefined || typeof error?.code === 'string');
  return valid ? draft : undefined;
}
