// What operators see beside a conversation: the list of all, what is known of the one that is open, and
// its notes. It inserts what other people wrote only as text.

import { Lobby } from './lobby.js';
import { element } from './log.js';
import { content, label, links, plain } from './text.js';
import { draftId, numberOf } from './timeline.js';

const LISTS = {
  open: { filter: {}, sort: 'activity' },
  waiting: { filter: { waiting: true }, sort: 'waiting' },
  none: { filter: { assignee: 'none' }, sort: 'waiting' },
  me: { filter: { assignee: 'me' }, sort: 'activity' },
  closed: { filter: { status: 'closed' }, sort: 'activity' },
};

/** What notes say that operators did. */
const DONE = {
  claimed: 'claimed the conversation', transferred: 'transferred the conversation', closed: 'closed the conversation',
  reopened: 'reopened the conversation', answered: 'said that no reply is needed', updated: 'changed the subject or attributes',
  labelled: 'changed the labels', merged: 'merged a visitor into the user', banned: 'banned the user', edited: 'changed a message', deleted: 'deleted a message',
};

const LONGEST = 200; // UTF-16 units of a fact
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'short', timeStyle: 'short' });
const time = (at) => (Number.isNaN(Date.parse(at)) ? '' : clock.format(Date.parse(at)));

const $ = (id) => document.getElementById(id);

export class Desk {
  #page; // what chat.js gives to Front
  #front;
  #lobby;
  #roomId = '';
  #notes = new Map(); // by seq

  constructor(page, front, operatorId) {
    this.#page = page;
    this.#front = front;
    this.#lobby = new Lobby(page.client, { operatorId, ...LISTS.open, onchange: () => this.#draw(), onstate: () => this.#draw() });
    document.body.classList.add('desk');
    $('desk').hidden = false;
    $('desk-filter').addEventListener('change', () => this.#try('list the conversations', () => this.#lobby.show(LISTS[$('desk-filter').value])));
    $('rooms-more').addEventListener('click', () => this.#try('list more', () => this.#lobby.more()));
    for (const [id, event] of Object.entries({ claim: 'claimRoom', answered: 'answered', close: 'closeRoom', reopen: 'reopenRoom' })) {
      $(id).addEventListener('click', () => this.#do(event));
    }
    $('note-form').addEventListener('submit', (event) => { event.preventDefault(); this.#add(); });
  }

  /** Shows what is known of a conversation; '' shows none. */
  show(roomId) {
    if (roomId !== this.#roomId) {
      this.#roomId = roomId;
      this.#notes.clear();
      this.#drawNotes();
      $('note').value = '';
    }
    this.#draw();
  }

  /** Takes notes of the conversation. With reset, it has no others. */
  note(notes, { reset }) {
    if (reset) this.#notes.clear();
    for (const note of notes) {
      const known = this.#notes.get(note.seq);
      if (!known || numberOf(known) < numberOf(note)) this.#notes.set(note.seq, note);
    }
    this.#drawNotes(!reset);
  }

  async #try(what, run) {
    try {
      return await run();
    } catch (error) {
      if (error.code !== 'disconnected') this.#page.notice(`Could not ${what}: ${error.message}`);
    }
  }

  #do(event) {
    const { client } = this.#page;
    return this.#try('change the conversation', () => client.request(event, { roomId: this.#roomId }));
  }

  async #add() {
    const text = $('note').value.trim(), roomId = this.#roomId;
    if (!text) return;
    const stored = await this.#try('add the note', () => this.#page.client.request('addNote', { roomId, message: { text }, clientId: draftId() }));
    if (stored && roomId === this.#roomId && $('note').value.trim() === text) $('note').value = '';
  }

  #draw() {
    const rooms = this.#lobby.rooms();
    for (const row of rooms) this.#front.learn(row);
    const focused = document.activeElement?.closest?.('#rooms a')?.hash;
    $('rooms').replaceChildren(...rooms.map((row) => this.#item(row)));
    if (focused) [...$('rooms').querySelectorAll('a')].find((link) => link.hash === focused)?.focus({ preventScroll: true });
    $('rooms-none').hidden = rooms.length > 0 || this.#lobby.state !== 'joined';
    $('rooms-more').hidden = !this.#lobby.hasMore;
    if (this.#lobby.state === 'refused') this.#page.notice(`Could not list the conversations: ${this.#lobby.error.message}`, 'Try again', () => this.#lobby.watch());
    const { live } = this.#page.current();
    const listed = this.#lobby.room(this.#roomId), joined = live.conversation;
    this.#about(this.#roomId === '' ? undefined : listed?.change >= (joined?.change ?? 0) ? listed : joined);
  }

  #who(row) {
    return label(this.#front.nameOf({ userId: row.userId }), row.userId);
  }

  #item(row) {
    const { roomId, lastMessage, unread, waitingSince } = row;
    const operator = row.operatorId ? label(row.operator?.name, row.operatorId) : '';
    const link = element('a', { href: `#${encodeURIComponent(roomId)}` },
      element('bdi', { className: 'who' }, this.#who(row)),
      unread > 0 ? element('b', { className: 'badge' }, `${unread > 99 ? '99+' : unread} new`) : '',
      element('span', { className: 'excerpt', dir: 'auto' }, lastMessage?.deleted ? 'deleted' : plain(lastMessage?.excerpt ?? '', LONGEST)),
      element('span', { className: 'state' }, waitingSince ? `waiting since ${time(waitingSince)}` : '', waitingSince && operator ? ' · ' : '', operator ? element('bdi', {}, operator) : ''));
    if (roomId === this.#roomId) link.setAttribute('aria-current', 'true');
    return element('li', {}, link);
  }

  #about(row) {
    $('about').hidden = row === undefined;
    if (!row) return;
    const page = row.page ?? row.attributes?.visit?.page;
    const facts = {
      User: [element('bdi', {}, this.#who(row)), row.user?.verified ? ' (verified)' : '', row.user?.online ? ', here now' : ''],
      'E-mail': [plain(row.user?.email ?? '', LONGEST)],
      Subject: [plain(row.subject ?? '', LONGEST)],
      Labels: [(row.labels ?? []).map((name) => plain(name, LONGEST)).join(', ')],
      Page: [plain(typeof page?.title === 'string' ? page.title : '', LONGEST), ' ', ...this.#address(page?.url)],
      'Has it': [row.operatorId ? label(row.operator?.name, row.operatorId) : 'nobody'],
      State: [row.status ?? '', row.waitingSince ? `, waiting since ${time(row.waitingSince)}` : ''],
    };
    $('facts').replaceChildren(...Object.entries(facts).flatMap(([name, parts]) => {
      const value = element('dd', { dir: 'auto' }, ...parts);
      return value.textContent.trim() === '' ? [] : [element('dt', {}, name), value];
    }));
    const open = row.status === 'open';
    const shown = { claim: open && !row.operatorId, answered: open && row.waitingSince !== undefined, close: open, reopen: !open };
    const focused = Object.keys(shown).find((id) => $(id) === document.activeElement && !shown[id]);
    for (const [id, is] of Object.entries(shown)) $(id).hidden = !is;
    if (focused) $(open ? 'close' : 'reopen').focus(); // the button that had the focus is gone
  }

  /** Returns an address as a link if it leads to a web page, otherwise as text. */
  #address(url) {
    if (typeof url !== 'string') return [];
    const [first, ...more] = links(url);
    const shown = plain(url, LONGEST);
    return first?.href && more.length === 0 ? [element('a', { href: first.href, target: '_blank', rel: 'noopener noreferrer' }, shown)] : [shown];
  }

  #drawNotes(live = false) {
    $('notes').setAttribute('aria-live', live ? 'polite' : 'off');
    $('notes').replaceChildren(...[...this.#notes.values()].sort((a, b) => a.seq - b.seq).map((note) => {
      const name = label(this.#front.nameOf({ operatorId: note.operatorId }), note.operatorId);
      const { text, json } = content(note.message);
      const { event, to, note: added } = note.message ?? {};
      const said = note.deleted ? 'deleted'
        : typeof event === 'string' && event !== '' ? [DONE[event] ?? plain(event), event === 'transferred' ? ` to ${typeof to === 'string' && to ? label(this.#front.nameOf({ operatorId: to }), to) : 'nobody'}` : '', typeof added === 'string' && added ? `: ${added}` : ''].join('')
        : text ?? json;
      return element('li', { className: text === undefined ? 'done' : '' },
        element('p', { className: 'author' }, element('bdi', {}, name), ' ', element('time', {}, time(note.timestamp))),
        element('p', { dir: 'auto' }, said));
    }));
    if ($('notes').lastElementChild) $('notes').scrollTop = $('notes').scrollHeight;
  }
}
