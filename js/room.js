/**
 * A room of a Parley server. It joins again after each disconnect and delivers the messages in order,
 * until you leave it.
 *
 *   import { connect } from '/parley.js';
 *   import { Room } from '/room.js';
 *   const client = connect();
 *   const room = new Room(client, {
 *     roomId: 'support-42', userId: 'ada', name: 'Ada',
 *     onmessages(messages, { reset }) { if (reset) clear(); messages.forEach(show); },
 *     onchanges(messages) { messages.forEach(replace); },
 *   });
 *   await client.request('sendMessage', { roomId: 'support-42', message: 'Hello', clientId: crypto.randomUUID() });
 *
 * onmessages gets each message once, in the order of seq, without a gap. Live messages that arrive
 * before the older ones are complete wait for those. onchanges gets messages that were edited or deleted
 * (`deleted`). Show each in place of the one with its seq. If you have not loaded that one, keep the
 * changed one until you have: a page of history that was read before the change may arrive after it. Of
 * two versions of a message, the one with the larger numberOf is the newer one.
 *
 * If a message was both sent and changed while you were away or slow, onmessages may get it later than
 * its seq says.
 *
 * If the room is a conversation, `conversation` and `read` say what is known of it. With `notes: true`,
 * onnotes gets an operator's notes: the newest ones after each join, and then each that is added or
 * changed.
 *
 * outbox.js sends messages, also those that were written before a break or a reload. live.js has the
 * whole room as one value, for user interfaces. The types are in room.d.ts.
 */
export class Room {
  client;
  roomId;
  /** The identity that this client claims: {userId?, operatorId?, name?}. */
  who;
  /** waiting (for the client's connection), joining, joined, refused (see error and join) or left. */
  state = 'waiting';
  /** The ParleyError with which the server refused to let you join or read the room. */
  error = null;
  /** This client as the others see it. Undefined before the first answer. */
  member;
  /** The members by id. In a large room, the server lists only a part of the `count` members. */
  members = new Map();
  count = 0;
  /** epoch identifies the numbering. lastSeq is the number of the last message or change delivered. */
  epoch;
  lastSeq = 0;
  /** The conversation that the room is: its status, who has it, its subject. Undefined for other rooms. */
  conversation;
  /** Of a conversation: the last messages that its operators and its user have read. */
  read = { operators: 0, user: 0 };
  /** The names of operators who have written here, by their ids, as far as the server knows them. */
  operatorNames = new Map();
  #limit;
  #notes;
  #handlers;
  #skipped = new Set(); // numbers that did not come: of messages that come later because they have changed, or of changes that were superseded
  #complete = false; // true if no message is missing before the next live one
  #held = null; // live messages that wait while older ones are missing, at most HELD
  #upTo = 0; // the number up to which older ones are requested
  #attempt; // identifies an attempt to join, so that answers to earlier attempts are ignored

  constructor(client, { roomId, userId, operatorId, name, limit, notes, ...handlers }) {
    this.client = client;
    this.roomId = roomId;
    this.who = { userId, operatorId, name };
    this.#limit = limit;
    this.#notes = notes ? { notes } : {};
    this.#handlers = new Set([handlers]);
    for (const [event, listener] of Object.entries(this.#listeners)) client.on(event, listener);
    queueMicrotask(() => this.join()); // after the caller's code has the room in its variable
  }

  /** Joins again after a refusal, or under another identity, {userId?, operatorId?, name?}. The room joins by itself whenever the client connects. */
  join(who) {
    Object.assign(this.who, who);
    if (this.state === 'left' || !this.client.connected) return;
    this.#attempt = {};
    this.#held = null;
    this.#become('joining');
    const known = this.epoch === undefined ? {} : { after: this.lastSeq, epoch: this.epoch };
    this.#ask('joinRoom', { ...this.who, limit: this.#limit, ...this.#notes, ...known }, (page) => {
      this.member = page.member;
      this.members = new Map(page.members.map((member) => [member.id, member]));
      this.count = page.count;
      this.#complete = false;
      this.#held = [];
      this.#tell('onmembers');
      const reset = page.reset === true || page.epoch !== this.epoch;
      if (reset) {
        this.epoch = page.epoch;
        this.lastSeq = 0;
      }
      this.#upTo = page.lastSeq;
      this.conversation = page.room;
      this.read = { operators: 0, user: 0, ...page.read };
      this.#introduce(page.notes);
      this.#tell('onconversation');
      if (page.notes) this.#tell('onnotes', page.notes.messages, { reset: true });
      this.#take(page, reset);
    });
  }

  /** Leaves the room. It calls no handler afterwards. */
  leave() {
    if (this.state === 'left') return;
    for (const [event, listener] of Object.entries(this.#listeners)) this.client.off(event, listener);
    this.#attempt = undefined;
    this.state = 'left';
    if (this.client.connected) this.client.emit('leaveRoom', { roomId: this.roomId });
  }

  /** Adds handlers, which have the names of those in the options. Returns a function that removes them. */
  watch(handlers) {
    this.#handlers.add(handlers);
    return () => { this.#handlers.delete(handlers); };
  }

  #listeners = {
    connect: () => this.join(),
    disconnect: () => {
      this.#attempt = undefined;
      this.#complete = false;
      this.#held = null;
      this.members = new Map();
      this.count = 0;
      this.#become('waiting');
      this.#tell('onmembers');
    },
    newMessage: (message) => this.#hear(message),
    messageChanged: (message) => this.#hear(message),
    presence: ({ roomId, type, member, count }) => {
      if (roomId !== this.roomId || !this.member) return;
      if (type === 'join') this.members.set(member.id, member);
      else if (type === 'leave') this.members.delete(member.id);
      this.count = count ?? this.members.size; // the user of a conversation is told no number
      this.#tell('onmembers');
    },
    typing: (typing) => {
      if (typing.roomId === this.roomId) this.#tell('ontyping', typing);
    },
    newNote: (note) => this.#note(note),
    noteChanged: (note) => this.#note(note),
    roomChanged: ({ room }) => {
      if (room.roomId !== this.roomId || !this.conversation || room.change < this.conversation.change) return;
      // What the news could say and does not say is no longer so. To a user, the server says less.
      const { operatorId, operator, subject, ...known } = this.conversation;
      if (room.change !== undefined) for (const member of ['waitingSince', 'closedAt', 'page']) delete known[member];
      this.conversation = { ...known, ...room };
      this.#tell('onconversation');
    },
    roomGone: ({ roomId }) => {
      if (roomId === this.roomId) this.#tell('ongone');
    },
    read: ({ roomId, seq, by }) => {
      if (roomId !== this.roomId) return;
      this.read = { ...this.read, [by]: Math.max(this.read[by], seq) };
      this.#tell('onconversation');
    },
  };

  /** Remembers the names in a page. */
  #introduce({ operatorNames = {} } = {}) {
    for (const [operatorId, name] of Object.entries(operatorNames)) this.operatorNames.set(operatorId, name);
  }

  #note(note) {
    if (note.roomId === this.roomId && this.member) this.#tell('onnotes', [note], { reset: false }); // otherwise the answer to joinRoom has it
  }

  // Uses a callback to handle the answer before the events that follow it: see Client.timeout.
  #ask(event, payload, done) {
    const attempt = this.#attempt;
    this.client.timeout(TIMEOUT_MS).emit(event, { roomId: this.roomId, ...payload }, (error, answer) => {
      if (this.#attempt !== attempt) return;
      if (!error) return done(answer);
      this.#attempt = undefined;
      this.#held = null;
      this.error = error;
      if (error.code !== 'disconnected') this.#become('refused');
    });
  }

  #hear(message) {
    if (message.roomId !== this.roomId) return;
    if (this.#complete) this.#deliver([message], { live: true });
    else this.#hold(message);
  }

  /** Keeps a live message for later. If there are too many, it drops them all, and requests them when it has the older ones. */
  #hold(message) {
    if (!this.#held) return; // before the answer to joinRoom: the page will contain it
    this.#held.push(message);
    if (this.#held.length <= HELD) return;
    this.#held = [];
    this.#upTo = numberOf(message);
  }

  /** Delivers a page, and requests and delivers the next ones up to the number #upTo. After that number, messages come live. */
  #take(page, reset = false) {
    this.#introduce(page);
    this.#deliver(page.messages, { reset, hasMore: reset && page.hasMore });
    // The newest page is complete. Another one that is not ends with its last change.
    const last = page.messages.at(-1);
    const reached = !reset && page.hasMore && last ? numberOf(last) : Math.max(this.lastSeq, page.lastSeq);
    this.lastSeq = Math.max(this.lastSeq, reached);
    if (reached < this.#upTo) {
      return this.#ask('history', { after: reached, limit: this.#limit }, (next) => {
        if (next.epoch === this.epoch) this.#take(next);
        else this.join();
      });
    }
    this.#complete = true;
    this.#skipped.clear(); // what was a message has come
    for (const message of this.#held) this.#deliver([message], { live: true });
    this.#held = null;
    this.#become('joined');
  }

  /** Delivers what was not delivered yet. A message that has changed is new if its own number was skipped. */
  #deliver(messages, { reset = false, live = false, hasMore = false }) {
    const added = reset ? messages : [], changed = [];
    for (const message of reset ? [] : messages) {
      const number = numberOf(message);
      if (number <= this.lastSeq) continue;
      for (let skipped = Math.max(this.lastSeq + 1, number - SKIPPED); skipped < number; skipped++) this.#skipped.add(skipped);
      this.lastSeq = number;
      (message.rev && !this.#skipped.delete(message.seq) ? changed : added).push(message);
    }
    for (const number of this.#skipped) if (this.#skipped.size > SKIPPED) this.#skipped.delete(number);
    if (added.length > 0 || reset) this.#tell('onmessages', added.sort((a, b) => a.seq - b.seq), { reset, live, hasMore });
    if (changed.length > 0) this.#tell('onchanges', changed, { live });
  }

  #become(state) {
    if (this.state === state && state !== 'refused') return;
    this.state = state;
    if (state !== 'refused') this.error = null;
    this.#tell('onstate', state);
  }

  /** Calls the handlers with a name. If one throws, the error is reported as uncaught and the room goes on. */
  #tell(name, ...args) {
    for (const handlers of this.#handlers) {
      if (this.state === 'left') return;
      try {
        handlers[name]?.(...args);
      } catch (error) {
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/** The number of a message's last change in the room's order of changes. */
export const numberOf = ({ seq, rev = 0 }) => Math.max(seq, rev);

/** The maximum number of live messages that wait, and of skipped numbers that are remembered. */
const HELD = 500, SKIPPED = 1000;

/** Longer than the 10 s after which the server reports that its store does not answer. */
const TIMEOUT_MS = 15_000;
