/**
 * The list of conversations of a Parley server, for operators. It stays up to date until you leave it,
 * and misses nothing when the connection breaks.
 *
 *   import { connect } from '/parley.js';
 *   import { Lobby } from '/lobby.js';
 *   const client = connect('', { auth: () => ({ token }) });
 *   const lobby = new Lobby(client, {
 *     operatorId: 'anna', filter: { status: 'open', assignee: 'none' }, sort: 'waiting',
 *     onchange() { draw(lobby.rooms(), lobby.operators); },
 *   });
 *   button.onclick = () => lobby.more();
 *
 * The types are in lobby.d.ts.
 */
export class Lobby {
  /** waiting (for the client's connection), joining, joined, refused (see error and watch) or left. */
  state = 'waiting';
  /** The ParleyError with which the server refused the list. */
  error = null;
  /** The operators that are there, by id. */
  operators = new Map();
  /** The numbers of open conversations, as of the last page that was loaded from the beginning. */
  counts;
  /** Whether there are more conversations than rooms() returns. */
  hasMore = false;
  /** What the list has: everything up to the change `position` in the numbering `epoch`. */
  position = 0;
  epoch;
  #client;
  #me;
  #query;
  #limit;
  #handlers;
  #rows = new Map(); // every conversation that is known, also those that do not match the filter
  #next; // the cursor of the next page
  #last; // the last row of the last page: what follows it is not loaded yet
  #attempt; // identifies an attempt to watch, so that answers to earlier attempts are ignored
  #telling = false;

  constructor(client, { operatorId, filter = {}, sort = 'activity', limit, ...handlers }) {
    this.#client = client;
    this.#me = operatorId;
    this.#query = { filter, sort };
    this.#limit = limit;
    this.#handlers = handlers;
    for (const [event, listener] of Object.entries(this.#listeners)) client.on(event, listener);
    queueMicrotask(() => this.watch()); // after the caller's code has the lobby in its variable
  }

  /** The conversations that match the filter, in order, as far as they are loaded. */
  rooms() {
    const order = ORDERS[this.#query.sort];
    const shown = [...this.#rows.values()].filter((row) => matches(row, this.#query.filter, this.#me) && !(this.hasMore && this.#last && order(row, this.#last) > 0));
    return shown.sort(order);
  }

  /** What is known of a conversation. */
  room(roomId) { return this.#rows.get(roomId); }

  /** Shows another list. It begins with what is known and is complete when the promise resolves. */
  async show({ filter = this.#query.filter, sort = this.#query.sort }) {
    this.#query = { filter, sort };
    this.#begin();
    this.#tell();
    await this.#load();
  }

  /** Loads the next page. */
  async more() {
    if (this.hasMore) await this.#load(this.#next);
  }

  /** Tries again after a refusal. The lobby does so by itself whenever the client connects. */
  watch() {
    if (this.state === 'left' || !this.#client.connected) return;
    const attempt = (this.#attempt = {});
    const query = this.#query;
    this.#become('joining');
    const known = this.epoch === undefined ? {} : { after: this.position, epoch: this.epoch };
    this.#client.timeout(TIMEOUT_MS).emit('watchRooms', { ...query, limit: this.#limit, ...known }, (error, answer) => {
      if (this.#attempt !== attempt) return;
      if (error) {
        this.error = error;
        if (error.code !== 'disconnected') this.#become('refused');
        return;
      }
      const anew = answer.reset === true || this.epoch === undefined;
      if (anew) {
        this.#rows.clear();
        this.#begin();
      }
      this.epoch = answer.epoch;
      this.position = answer.position;
      this.operators = new Map(answer.operators.map((operator) => [operator.operatorId, operator]));
      if (anew && query === this.#query) this.#page(answer);
      else {
        answer.rooms.forEach((row) => this.#apply(row));
        if (anew) this.#load().catch(() => {}); // another list was asked for meanwhile
      }
      this.counts = answer.counts ?? this.counts;
      this.#become('joined');
      this.#tell();
    });
  }

  /** Ends the list. It calls no handler afterwards. */
  leave() {
    if (this.state === 'left') return;
    for (const [event, listener] of Object.entries(this.#listeners)) this.#client.off(event, listener);
    this.#attempt = undefined;
    this.state = 'left';
    if (this.#client.connected) this.#client.emit('unwatchRooms', {});
  }

  #listeners = {
    connect: () => this.watch(),
    disconnect: () => {
      this.#attempt = undefined;
      this.operators = new Map();
      this.#become('waiting');
      this.#tell();
    },
    roomChanged: ({ room, position }) => {
      if (this.epoch === undefined || room.change === undefined) return; // the answer will have it; or it is for a user
      this.#apply(room);
      if (position !== undefined) this.position = Math.max(this.position, position);
      this.#tell();
    },
    roomGone: ({ roomId }) => {
      this.#rows.delete(roomId);
      this.#tell();
    },
    operatorChanged: (operator) => {
      const { operatorId, name, status } = operator;
      if (status === 'offline') this.operators.delete(operatorId);
      else this.operators.set(operatorId, operator);
      for (const [roomId, row] of this.#rows) {
        if (row.operatorId === operatorId) this.#rows.set(roomId, { ...row, operator: { name, online: status === 'online' } });
      }
      this.#tell();
    },
    visitorChanged: ({ userId, page, online }) => {
      for (const [roomId, row] of this.#rows) {
        if (row.userId === userId) this.#rows.set(roomId, { ...row, page, user: { ...row.user, online } });
      }
      this.#tell();
    },
    read: ({ roomId, seq, by, operatorId }) => {
      const row = this.#rows.get(roomId);
      if (!row) return;
      if (by === 'user') this.#rows.set(roomId, { ...row, userReadSeq: Math.max(row.userReadSeq, seq) });
      else {
        const own = operatorId !== undefined && operatorId === this.#me && { readSeq: seq, unread: seq >= (row.lastMessage?.seq ?? 0) ? 0 : Math.max(row.unread, 1) };
        this.#rows.set(roomId, { ...row, operatorsReadSeq: Math.max(row.operatorsReadSeq, seq), ...own });
      }
      this.#tell();
    },
    // The server ends a watch if conversations were erased.
    error: ({ event, code }) => { if (event === 'watchRooms' && code === 'gone') this.watch(); },
  };

  /** Forgets which pages are loaded. */
  #begin() {
    this.hasMore = false;
    this.#next = this.#last = undefined;
  }

  /** Loads a page of the list. */
  #load(cursor) {
    const query = this.#query;
    return new Promise((resolve, reject) => {
      this.#client.timeout(TIMEOUT_MS).emit('listRooms', { ...query, limit: this.#limit, cursor }, (error, page) => {
        if (error) return reject(error);
        if (query === this.#query && this.#next === cursor && this.state !== 'left') {
          this.#page(page);
          this.#tell();
        }
        resolve();
      });
    });
  }

  #page({ rooms, next, counts }) {
    rooms.forEach((row) => this.#apply(row));
    this.counts = counts ?? this.counts;
    this.#next = next;
    this.#last = rooms.at(-1) ?? this.#last;
    this.hasMore = next !== undefined;
  }

  /** Takes a row unless a newer one is known. Rows for all operators lack what one of them has read. */
  #apply(row) {
    const held = this.#rows.get(row.roomId);
    if (held && (row.change < held.change || (row.change === held.change && row.unread === undefined))) return;
    const fresh = row.lastMessage?.by === 'user' && row.lastMessage.seq > (held?.lastMessage?.seq ?? 0);
    const more = fresh ? Math.max(1, row.lastSeq - (held?.lastSeq ?? row.lastSeq)) : 0;
    this.#rows.set(row.roomId, { ...row, readSeq: row.readSeq ?? held?.readSeq ?? 0, unread: row.unread ?? Math.min(100, (held?.unread ?? 0) + more) });
  }

  #become(state) {
    if (this.state === state && state !== 'refused') return;
    this.state = state;
    if (state !== 'refused') this.error = null;
    this.#call('onstate', state);
  }

  /** Calls onchange once for all that happens at once. */
  #tell() {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      this.#call('onchange');
    });
  }

  /** Calls a handler. If it throws, the error is reported as uncaught and the lobby goes on. */
  #call(name, ...args) {
    if (this.state === 'left') return;
    try {
      this.#handlers[name]?.(...args);
    } catch (error) {
      queueMicrotask(() => { throw error; });
    }
  }
}

/** Whether a conversation is one that the server would list. */
function matches(row, { status = 'open', assignee = 'any', waiting, unread, label, userId }, me) {
  const { operatorId } = row;
  return (status === 'all' || row.status === status)
    && (assignee === 'any' || (assignee === 'none' && !operatorId) || (assignee === 'me' && operatorId === me)
      || (assignee === 'others' && operatorId !== undefined && operatorId !== me) || (assignee.operatorId !== undefined && operatorId === assignee.operatorId))
    && (!waiting || row.waitingSince !== undefined) && (!unread || row.unread > 0)
    && (!label || row.labels.includes(label)) && (!userId || row.userId === userId);
}

// Times of the server are strings that sort in their order.
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const byActivity = (a, b) => compare(b.lastAt, a.lastAt);

/** The orders of the server. Rows with equal keys keep the order in which they came. */
const ORDERS = {
  activity: byActivity,
  created: (a, b) => compare(b.createdAt, a.createdAt),
  waiting: (a, b) => (a.waitingSince && b.waitingSince ? compare(a.waitingSince, b.waitingSince) : (a.waitingSince ? -1 : b.waitingSince ? 1 : byActivity(a, b))),
};

/** Longer than the 10 s after which the server reports that its store does not answer. */
const TIMEOUT_MS = 15_000;
