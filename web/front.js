// What the page does beside, if the server wants to know who people are. A visitor has a conversation,
// which its first message begins. An operator signs in, and gets the list of all conversations.

import { Access } from './access.js';
import { Desk } from './desk.js';
import { element } from './log.js';
import { personKey } from './timeline.js';

const SIGN_IN = '#sign-in', ENDED = '#session-ended';
const LATER_MS = 30_000; // until the page tries again, if the server does not say when

const $ = (id) => document.getElementById(id);

/** What the page is of a conversation: the parts that it hides while nobody may see one. */
const CONVERSATION = ['scroller', 'typing', 'composer-form'];

export class Front {
  access;
  /** The visitor's conversation, '' if it has none. */
  conversation = '';
  /** True while the server knows who this user is and the page knows it too. */
  ready = false;
  #page; // what chat.js gives to start()
  #remember;
  #names = new Map(); // of people, by personKey
  #desk = null;
  #who = ''; // personKey of this user
  #settings = {};
  #editing = null; // {roomId, seq, rev, message}
  #refusals = 0; // how often in a row the server has ended the connection
  #timer;

  constructor(remember) {
    this.#remember = remember;
    this.access = new Access(remember);
  }

  /** The options for Room: an operator sees the notes. */
  get room() {
    return {
      ...(this.access.operator && { notes: true }),
      onconversation: () => this.#conversationChanged(),
      onnotes: (notes, how) => this.#desk?.note(notes, how),
      ongone: () => this.#gone(),
    };
  }

  start(page) {
    this.#page = page;
    for (const id of ['room-form', 'name-form']) $(id).hidden = true;
    $('staff').hidden = this.access.operator;
    $('empty').textContent = this.access.operator ? 'Choose a conversation.' : 'Write to us: we answer here.';
    page.client.on('connect', () => this.#greet());
    page.client.on('disconnect', (reason) => this.#lost(reason));
    page.client.on('tokenExpiring', () => this.#refresh());
    page.client.on('roomChanged', () => { // another tab or device has begun a conversation
      if (this.ready && !this.access.operator && this.conversation === '') this.#greet();
    });
    $('sign-in-form').addEventListener('submit', (event) => { event.preventDefault(); this.#signIn(); });
    $('sign-out').addEventListener('click', () => this.#signOut());
    page.enter('');
    this.go();
  }

  /** Shows what the address says: the form for signing in, a room, or the visitor's conversation. */
  go() {
    const { hash } = location;
    if (!this.access.operator && (hash === SIGN_IN || hash === ENDED)) {
      clearTimeout(this.#timer);
      return this.#door('Sign in', hash === ENDED ? 'Your session has ended.' : 'For operators of this chat.', { form: true, back: true });
    }
    this.#door(null);
    const roomId = hash.length > 1 && hash !== SIGN_IN && hash !== ENDED ? this.#page.roomInUrl() : this.conversation;
    if (roomId !== this.#page.current().id) this.#enter(roomId);
    if (this.#page.client.state === 'closed') this.#connect();
  }

  #enter(roomId) {
    this.edit('');
    this.#page.enter(roomId);
    this.#desk?.show(roomId);
  }

  /** Returns what stands for a Room where there is none: before a visitor's first message, and before an operator chooses one. */
  roomWithoutServer(roomId) {
    if (roomId !== '') return undefined;
    const { access } = this, joined = () => this.ready && !access.operator;
    return { get state() { return joined() ? 'joined' : 'waiting'; }, members: new Map(), operatorNames: new Map(), count: 0, lastSeq: 0, read: {}, join() {}, leave() {} };
  }

  title({ id, live }) {
    const { conversation } = live;
    if (id === '') return this.access.operator ? 'No conversation' : 'Chat';
    if (!conversation) return id;
    return this.access.operator ? this.nameOf({ userId: conversation.userId }) || conversation.userId : conversation.subject || 'Chat';
  }

  // ---------------------------------------------------------------- people

  /** Returns the name of a member or of a message's author, as the server says it. What people call themselves does not count here. */
  nameOf(person) {
    const key = personKey(person);
    if (!this.#names.has(key)) {
      const { members, operatorNames } = this.#page.current().live;
      if (person.operatorId) this.#name(person, operatorNames.get(person.operatorId));
      for (const member of members.values()) if (personKey(member) === key) this.#name(member, member.name);
    }
    return this.#names.get(key) ?? (person.operatorId || !person.userId?.startsWith('v_') ? '' : `Visitor ${person.userId.slice(-4)}`);
  }

  #name(person, name) {
    if (typeof name === 'string' && name !== '') this.#names.set(personKey(person), name);
  }

  #conversationChanged() {
    const room = this.#page.current();
    const { conversation } = room.live;
    this.learn(conversation);
    this.#page.entitle(this.title(room));
    this.#desk?.show(room.id);
    if (!this.access.operator && conversation) {
      const { operator, status } = conversation;
      $('composer').placeholder = status === 'closed' ? 'This conversation is closed. Write to open it again' : operator?.name ? `Write to ${operator.name}` : 'Write a message';
    }
  }

  /** Remembers the names in a page of messages. */
  introduce({ operatorNames = {} }) {
    for (const [operatorId, name] of Object.entries(operatorNames)) this.#name({ operatorId }, name);
  }

  /** Remembers the names in what the server says of a conversation. */
  learn(row) {
    if (row?.operatorId) this.#name({ operatorId: row.operatorId }, row.operator?.name);
    if (row?.userId) this.#name({ userId: row.userId }, row.user?.name);
  }

  #gone() {
    this.#page.notice('This conversation was erased.');
    this.conversation = '';
    location.hash = '';
    this.#enter('');
  }

  // ---------------------------------------------------------------- the connection

  async #greet() {
    const { client, me, notice, current, transmit, showStatus } = this.#page;
    try {
      const { me: who, open, settings } = await client.request('hello', {
        page: { url: location.origin + location.pathname, title: document.title.slice(0, 60) }, client: 'Parley page',
        locale: navigator.language?.slice(0, 35), timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      });
      if (settings.open) return notice('This server does not ask any more who you are.', 'Reload', () => location.reload());
      if (!this.#become(who)) return;
      this.#settings = settings;
      if (!this.access.operator) {
        open.forEach((row) => this.learn(row));
        this.conversation = open[0]?.roomId ?? (await client.request('listRooms', { filter: { status: 'all' }, limit: 1 })).rooms[0]?.roomId ?? '';
      }
      this.ready = true;
      this.#refusals = 0;
      for (const member of Object.keys(me)) delete me[member];
      Object.assign(me, who);
      if (this.access.operator && !this.#desk) this.#desk = new Desk(this.#page, this, who.operatorId);
      this.go();
      if (current().id === '') $('empty').hidden = current().timeline.drafts.length > 0;
      showStatus();
      transmit();
    } catch (error) {
      if (error.code !== 'disconnected') notice(`The server did not say who you are: ${error.message}`, 'Try again', () => this.#greet());
    }
  }

  /** Takes the identity that the server says. Returns false if this tab has something of somebody else: then the page loads again without it. */
  #become(who) {
    const key = personKey(who), before = this.#who || this.#remember.get('who', 'sessionStorage');
    if (before && before !== key) {
      this.#leaveFor(location.hash);
      return false;
    }
    this.#who = key;
    this.#remember.set('who', key, 'sessionStorage');
    $('account').hidden = !who.operatorId;
    $('account-name').textContent = who.name || who.operatorId || '';
    return true;
  }

  #lost(reason) {
    this.ready = false;
    if (reason !== 'io server disconnect') return;
    // Perhaps this user is not welcome any more. The server says it to who comes again.
    this.#again(Math.min(60_000, 500 * 2 ** this.#refusals++));
  }

  #again(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#page.client.connect();
    this.#page.showStatus();
  }

  async #refresh() {
    if (this.access.operator) return;
    try {
      await this.#page.client.request('refresh', { token: await this.access.token(0) });
    } catch { /* the next connection gets a new token */ }
  }

  /** Handles an error with which a connection could not begin. Returns false if that is only a lost connection. */
  refused(error) {
    const { client, showStatus } = this.#page;
    const { code, message = error.message, data } = error.code === 'refused' ? error.data ?? {} : error;
    const stay = (title, text, form) => {
      client.close();
      this.#door(title, text, { form });
      showStatus();
      return true;
    };
    switch (code) {
      case 'bad_token': case 'token_expired':
        if (this.access.operator) return this.#ended();
        if (!this.access.drop()) return stay('No access', message);
        this.#again(0);
        return true;
      case 'forbidden':
        return stay('Who may come in', 'This chat is for people whom its site has signed in, and for operators.', { form: true });
      case 'banned':
        return stay('No access', 'You cannot write here any more.');
      case 'not_ready':
        this.#again(LATER_MS);
        return stay('Not ready', 'Nobody can answer yet. The chat opens here as soon as somebody can.');
      case 'rate_limited': case 'unavailable': case 'unknown_outcome':
        client.close();
        this.#again(data?.retryAfter > 0 ? data.retryAfter * 1000 : LATER_MS);
        this.#page.notice(`The server does not let you in yet: ${message}`, 'Try now', () => this.#connect());
        return true;
      default:
        return client.state !== 'closed';
    }
  }

  // ---------------------------------------------------------------- the door

  /** Shows why there is no conversation here; null shows the conversation. */
  #door(title, text = '', { form = false, back = false } = {}) {
    const open = title === null;
    for (const id of CONVERSATION) $(id).hidden = !open;
    if (!open && $('door').hidden) setTimeout(() => $(form ? 'login' : 'door-title').focus());
    $('door').hidden = open;
    document.body.classList.toggle('closed', !open);
    $('door-title').textContent = title ?? '';
    $('door-text').textContent = text;
    $('sign-in-form').hidden = !form;
    $('door-back').hidden = !back;
    $('sign-in-error').textContent = '';
    if (!open && form) this.#page.client.close();
  }

  async #signIn() {
    const button = $('sign-in-form').querySelector('button');
    button.disabled = true;
    $('sign-in-error').textContent = '';
    try {
      await this.access.signIn($('login').value, $('password').value);
      this.#leaveFor('');
    } catch (error) {
      const { retryAfter } = error.data ?? {};
      $('sign-in-error').textContent = `Not signed in: ${error.message}${retryAfter ? `. Try again in ${retryAfter} s` : ''}`;
      $('password').value = '';
      $('password').focus();
    } finally {
      button.disabled = false;
    }
  }

  async #signOut() {
    try {
      await this.access.signOut();
      this.#leaveFor(SIGN_IN);
    } catch (error) {
      this.#page.notice(`You are still signed in: ${error.message}`);
    }
  }

  #ended() {
    this.access.end();
    this.#leaveFor(ENDED);
    return true;
  }

  /** Loads the page again, so that nothing of one person is left for the next one. */
  #leaveFor(hash) {
    this.#page.client.close();
    try {
      for (const key of Object.keys(sessionStorage)) if (key === 'parley.who' || key.startsWith('parley.outbox.')) sessionStorage.removeItem(key);
    } catch { /* nothing is kept */ }
    history.replaceState(null, '', location.pathname + location.search + hash);
    location.reload();
  }

  // ---------------------------------------------------------------- messages

  /** Begins a conversation with a draft. If another tab was faster, the draft goes there. */
  async begin({ clientId, message }) {
    const { roomId } = await this.#page.client.request('startConversation', { message, clientId });
    this.conversation = roomId;
    this.go();
  }

  /** Returns the buttons of an own message, as long as the server lets it be changed. */
  controls(message) {
    const { editWindow } = this.#settings;
    if (typeof message.message?.text !== 'string' || (!this.access.operator && Date.now() - Date.parse(message.timestamp) > editWindow)) return [];
    return [element('p', { className: 'controls' },
      element('button', { type: 'button', onclick: () => this.#startEditing(message) }, 'Edit'),
      element('button', { type: 'button', onclick: () => this.#change('deleteMessage', message) }, 'Delete'))];
  }

  #startEditing(message) {
    this.#editing = message;
    $('composer').value = message.message.text;
    $('composer').focus();
    this.remind();
  }

  /** Says that a message is being edited, if that is so. */
  remind() {
    if (this.#editing) this.#page.notice('You are changing a message.', 'Cancel', () => this.edit(''));
  }

  /** Changes the message that is being edited. Returns false if there is none. An empty text changes nothing. */
  edit(text) {
    const message = this.#editing;
    if (!message) return false;
    this.#editing = null;
    $('composer').value = '';
    this.#page.notice('');
    if (text) this.#change('editMessage', message, { message: { ...message.message, text } });
    return true;
  }

  async #change(event, { roomId, seq, rev = seq }, more) {
    try {
      await this.#page.client.request(event, { roomId, seq, ifRev: rev, ...more });
    } catch (error) {
      this.#page.notice(`The message was not changed: ${error.message}`);
    }
  }
}
