// The chat page: one connection, one room at a time.

import { Client } from './parley.js';
import { Room } from './room.js';
import { Log, element, initial, paint } from './log.js';
import { label, plain } from './text.js';
import { Timeline, draftId, drafts, personKey } from './timeline.js';

const PAGE = 50;
const TYPING_EVERY_MS = 2500;
const TYPING_LASTS_MS = 6000;
const READ_EVERY_MS = 1500;
const WAIT_S = 60; // for a message that comes too soon; the page says so if it is longer
const TRANSPORTS = { webtransport: 'WebTransport', websocket: 'WebSocket', sse: 'HTTP streaming', polling: 'HTTP polling' };

const $ = (id) => document.getElementById(id);

/** Wraps the browser's storage, the window's localStorage or sessionStorage. If it is blocked or full, the chat still works. */
const remember = {
  get(key, area = 'localStorage') { try { return window[area].getItem(`parley.${key}`) ?? ''; } catch { return ''; } },
  set(key, value, area = 'localStorage') { try { window[area].setItem(`parley.${key}`, value); } catch { /* do not remember it */ } },
};

const MOST = { name: 40, room: 200 }; // UTF-16 units

/** Any page of this origin may have written what is remembered. Ids of guests are the server's. */
const isUserId = (id) => /^(?!guest-)[\w.:@-]{1,64}$/i.test(id);
/** What the page does beside, if the server wants to know who people are. Otherwise people say themselves who they are. */
const front = document.querySelector('meta[name="parley-access"]').content === 'closed' ? new (await import('./front.js')).Front(remember) : null;
await front?.access.begin();

/** Who this user is: {userId?, operatorId?, name?}. */
const me = front ? {} : {
  userId: [remember.get('userId'), draftId()].find(isUserId),
  name: plain(remember.get('name'), MOST.name) || `Guest ${1000 + Math.floor(Math.random() * 9000)}`,
};
if (!front) {
  remember.set('userId', me.userId);
  remember.set('name', me.name);
}

const named = new Set((new URLSearchParams(location.search).get('transport') ?? '').split(','));
const wanted = [...named].filter((kind) => Object.hasOwn(TRANSPORTS, kind));
const client = new Client('', {
  ...(front && { auth: () => front.access.auth() }),
  path: document.querySelector('meta[name="parley-path"]').content,
  ...(wanted.length && { transports: await Promise.all(wanted.map(transport)), upgrade: true }),
});

/** Returns an entry for the client's transports. WebTransport has its own file, and needs the hash of a self-signed certificate. */
async function transport(kind) {
  if (kind !== 'webtransport') return kind;
  const { WebTransportTransport } = await import('./transports.js');
  const hash = await fetch('certificate-hash').then((response) => (response.ok ? response.json() : null), () => null);
  const options = hash ? { serverCertificateHashes: [{ ...hash, value: Uint8Array.from(atob(hash.value), (c) => c.charCodeAt(0)) }] } : {};
  return { transport: WebTransportTransport, options };
}

const log = new Log($('log'), $('scroller'), {
  isOwn: (message) => personKey(message) === myKey() || (!message.operatorId && me.was?.includes(message.userId) === true),
  ...(front && { nameOf: (message) => front.nameOf(message), controls: (message) => front.controls(message) }),
  retry, discard, load,
  unseen(count) {
    $('latest').hidden = count === 0;
    if (count === 0) markRead();
    $('latest').textContent = count === 1 ? '1 new message' : `${count} new messages`;
  },
});

/** The state of the current room. enter() replaces the whole object, so that code can recognise late answers for an earlier room. */
let room = null;

// ---------------------------------------------------------------- rooms and history

/** Returns the room in the URL. One that is too long for a room stays so, which the server then says. */
const roomInUrl = () => {
  const text = location.hash.slice(1);
  let room = text;
  try { room = decodeURIComponent(text) || 'lobby'; } catch { /* it is not encoded */ }
  return room.slice(0, MOST.room + 1);
};

function enter(roomId) {
  room?.live.leave();
  // What was written before there was a conversation goes there.
  const carried = front && room?.id === '' && roomId === front.conversation ? room.timeline.drafts : [];
  if (carried.length > 0) remember.set('outbox.', '', 'sessionStorage');
  const live = front?.roomWithoutServer(roomId) ?? new Room(client, {
    roomId, ...(front ? front.room : { userId: me.userId, name: me.name }), limit: PAGE,
    onmessages: arrived, onchanges: edited, onmembers: membersChanged, ontyping: heardTyping, onstate: changed,
  });
  room = { id: roomId, live, timeline: new Timeline(), loading: false, typing: new Map(), typedAt: 0, sending: null, stored: new WeakSet(), readTo: 0 };
  room.timeline.drafts = drafts(remember.get(`outbox.${roomId}`, 'sessionStorage')).filter(({ clientId }) => !carried.some((draft) => draft.clientId === clientId)).concat(carried);
  if (carried.length > 0) saveOutbox();
  entitle(front ? front.title(room) : roomId);
  $('room-input').value = roomId;
  log.show(room.timeline);
  notice('');
  showRoom();
  showPeople();
  showTyping();
}

/** Shows the title of the room. */
function entitle(title) {
  $('title').textContent = plain(title, MOST.room) || encodeURIComponent(title);
  document.title = `${$('title').textContent} · Parley`;
}

function changed() {
  const { live } = room;
  if (live.state === 'joined') {
    notice('');
    front?.remind();
    showRoom();
    fillScreen();
    transmit();
  } else if (live.state === 'refused') {
    notice(`Could not join the room: ${live.error.message}`, 'Try again', () => live.join());
  }
  showStatus();
}

function arrived(messages, { reset, hasMore, live }) {
  const { timeline } = room;
  if (reset) {
    timeline.reset(room.live.epoch);
    timeline.hasOlder = hasMore;
    log.show(timeline);
  }
  store(messages, { live });
  if (!live) return;
  for (const message of messages) room.typing.delete(personKey(message));
  showTyping();
  showRoom();
  markRead();
}

function edited(messages) {
  for (const message of messages) room.timeline.change(message);
  log.update();
}

/** Adds messages to the timeline: a page of history, or what Room delivers, which follows the newest messages and may be live. */
function store(messages, { delivered = true, live = false }) {
  const { timeline } = room;
  const waiting = timeline.drafts.length;
  const fresh = messages.filter((message) => timeline.add(message, { live: delivered }) || timeline.hasNewer);
  log.update(live ? fresh : []);
  if (timeline.drafts.length < waiting) saveOutbox();
}

/** Loads a page of history: 'older' or 'newer' messages than the timeline has, or instead of all of them the 'newest'. */
async function load(which) {
  const here = room;
  const { timeline, live } = here;
  const { oldest, newest } = timeline;
  if (here.loading || live.state !== 'joined' || oldest === undefined || !(which === 'older' ? timeline.hasOlder : timeline.hasNewer)) return;
  here.loading = which;
  showRoom();
  try {
    // Half of a page around a message is before it.
    const place = { older: { before: oldest }, newer: { around: newest + 1, limit: 2 * PAGE }, newest: {} }[which];
    const page = await client.request('history', { roomId: here.id, limit: PAGE, ...place });
    front?.introduce(page);
    // Meanwhile the timeline may have dropped the message next to the page.
    if (room !== here || page.epoch !== timeline.epoch || (which === 'older' ? timeline.oldest !== oldest : timeline.newest !== newest)) return;
    if (which === 'newest') timeline.reset(page.epoch);
    if (which === 'newer') timeline.hasNewer = page.hasAfter || page.lastSeq < live.lastSeq;
    else timeline.hasOlder = page.hasMore && page.messages.length > 0;
    store(page.messages, { delivered: false });
    if (which === 'newest') {
      timeline.hasNewer = page.lastSeq < live.lastSeq;
      log.show(timeline);
    }
  } catch (error) {
    if (room === here && client.connected) notice(`Could not load messages: ${error.message}`);
  } finally {
    here.loading = false;
    if (room === here) showRoom();
  }
}

/** Loads more history until it fills the screen, because otherwise the user cannot scroll to load more. */
async function fillScreen() {
  const here = room;
  log.draw();
  for (let pages = 0; pages < 5 && room === here && here.timeline.hasOlder && $('scroller').scrollHeight <= $('scroller').clientHeight; pages++) {
    await load('older');
    log.draw();
  }
}

function showRoom() {
  const { timeline, live, loading } = room;
  const joined = live.state === 'joined';
  const empty = timeline.messages.length + timeline.drafts.length === 0;
  $('top').textContent = loading === 'older' ? 'Loading earlier messages…' : joined && !timeline.hasOlder && !empty ? 'This is the beginning of the room.' : '';
  $('empty').hidden = !joined || !empty;
}

let readTimer;

/** Tells the other side how far this user has read, if the end of the conversation is in view. */
function markRead() {
  if (!front) return;
  readTimer ??= setTimeout(() => { // not later with each message, or a busy conversation stays unread
    readTimer = undefined;
    const here = room;
    const { newest } = here.timeline;
    if (!here.live.conversation || here.live.state !== 'joined' || document.hidden || !log.following || !(newest > here.readTo)) return;
    here.readTo = newest;
    client.request('markRead', { roomId: here.id, seq: newest }).catch(() => { here.readTo = 0; }); // the next message tries again
  }, READ_EVERY_MS);
}

// ---------------------------------------------------------------- sending

function saveOutbox() {
  remember.set(`outbox.${room.id}`, JSON.stringify(room.timeline.drafts), 'sessionStorage');
}

function addDraft(draft) {
  room.timeline.drafts.push(draft);
  log.update();
  saveOutbox();
  showRoom();
}

function send(text) {
  const draft = { clientId: draftId(), message: front ? { text } : { text, name: me.name }, at: Date.now() };
  addDraft(draft);
  log.follow();
  transmit();
}

/**
 * Sends the drafts, one after the other. If the server wants to have fewer in a time, this waits. changed()
 * calls it again after each join. It is always safe to send a draft again: the server stores each clientId once.
 */
async function transmit() {
  const here = room;
  if (here.sending) return;
  const next = () => (room === here && here.live.state === 'joined' && front?.ready !== false ? here.timeline.drafts.find((draft) => !draft.error && !here.stored.has(draft)) : undefined);
  for (let draft; (draft = here.sending = next()) !== undefined;) {
    const still = () => room === here && here.timeline.drafts.includes(draft);
    try {
      if (here.id === '') return await front.begin(draft);
      const stored = await client.request('sendMessage', { roomId: here.id, message: draft.message, clientId: draft.clientId });
      // newMessage normally brings it. But if the server had already stored it, show it from the answer.
      if (still() && stored.seq <= here.live.lastSeq) store([{ ...stored, clientId: draft.clientId }], { live: true });
      here.stored.add(draft);
    } catch (error) {
      // A lost connection is no failure: the page sends the remaining drafts after joining again.
      if (error.code === 'disconnected') break;
      if (error.code === 'rate_limited' && error.data?.retryAfter <= WAIT_S) {
        await new Promise((resolve) => { setTimeout(resolve, error.data.retryAfter * 1000); });
      } else if (still()) {
        draft.error = error.code === 'timeout' ? 'the server did not answer' : error.message;
        log.update();
        saveOutbox();
      }
    }
  }
  here.sending = null;
}

function retry(draft) {
  delete draft.error;
  log.update();
  saveOutbox();
  transmit();
}

function discard(draft) {
  room.timeline.drafts = room.timeline.drafts.filter((other) => other !== draft);
  log.update();
  saveOutbox();
  showRoom();
  $('composer').focus();
}

// ---------------------------------------------------------------- people

const personName = (person) => label(front ? front.nameOf(person) : person.name, person.operatorId, person.userId, person.id);

/** This user's key. It uses the server's view of the user once that is known. */
const myKey = () => personKey(room.live.member ?? me);

/** After a reconnect, many members change at once. So this draws them at most four times a second. */
let peopleTimer;
function membersChanged() {
  peopleTimer ??= setTimeout(() => { peopleTimer = undefined; showPeople(); }, 250);
}

/** The maximum number of people in the list, this user and as many as the server shows, and of those who are remembered as typing. */
const LISTED = 101, TYPING = 10;

function showPeople() {
  const { members, member, count } = room.live;
  const people = new Map(); // a user with two tabs is one person
  if (count > 0) people.set(myKey(), member); // in a large room, the server's list may not contain this user
  for (const other of members.values()) people.set(personKey(other), other);
  let unlisted = Math.max(0, count - new Set([...members.keys(), member?.id]).size);
  const isMe = (other) => personKey(other) === myKey();
  const sorted = [...people.values()].sort((a, b) => isMe(b) - isMe(a) || personName(a).localeCompare(personName(b)));
  unlisted += Math.max(0, sorted.length - LISTED);
  $('people').replaceChildren(...sorted.slice(0, LISTED).map((other) => paint(element('li', {},
    element('span', { className: 'avatar', ariaHidden: 'true' }, initial(personName(other))),
    element('bdi', {}, personName(other)),
    other.operatorId ? element('span', { className: 'badge' }, 'operator') : '',
    isMe(other) ? element('span', { className: 'you' }, 'you') : ''), personKey(other))));
  if (unlisted > 0) $('people').append(element('li', { className: 'more' }, `and ${unlisted} more`));
  $('people-count').textContent = Math.min(people.size, LISTED) + unlisted || '';
}

function showTyping() {
  const names = [...room.typing.values()].map(({ name }) => element('bdi', {}, name));
  $('typing').replaceChildren(...(names.length === 0 ? []
    : names.length === 1 ? [names[0], ' is typing…']
    : names.length === 2 ? [names[0], ' and ', names[1], ' are typing…']
    : ['Several people are typing…']));
}

function heardTyping({ typing, ...member }) {
  const key = personKey(member);
  if (key === myKey()) return;
  const here = room;
  clearTimeout(here.typing.get(key)?.timer);
  here.typing.delete(key);
  const over = () => { here.typing.delete(key); if (room === here) showTyping(); };
  if (typing && here.typing.size < TYPING) here.typing.set(key, { name: personName(member), timer: setTimeout(over, TYPING_LASTS_MS) });
  showTyping();
}

function sayTyping(typing) {
  if (room.live.state !== 'joined' || room.id === '' || (typing ? Date.now() - room.typedAt < TYPING_EVERY_MS : room.typedAt === 0)) return;
  room.typedAt = typing ? Date.now() : 0;
  client.volatile('typing', { roomId: room.id, typing });
}

// ---------------------------------------------------------------- connection

client.on('connect', showStatus);
client.on('disconnect', showStatus);
client.on('reconnecting', showStatus);
client.on('connect_error', (error) => {
  if (!front && error.data?.code === 'bad_token') notice('The server wants to know who you are.', 'Continue', () => location.reload());
  else if (front ? !front.refused(error) : client.state === 'closed') notice(`The server refused the connection: ${error.message}`);
  showStatus();
});
client.on('error', (error) => notice(error?.message ?? 'The server reported an error.'));

let countdown;
function showStatus() {
  clearTimeout(countdown);
  const { state, retryAt } = client;
  const offline = navigator.onLine === false;
  let text, mood = state;
  if (state === 'connected') {
    const joining = room.id === '' && front?.ready ? 'joined' : room.live.state; // an operator may not have chosen a conversation
    text = joining === 'joined' ? `Connected · ${TRANSPORTS[client.transport] ?? client.transport}` : joining === 'refused' ? 'Not in the room' : 'Joining…';
    if (joining !== 'joined') mood = joining === 'refused' ? 'closed' : 'connecting';
  } else if (state === 'closed') {
    text = 'Disconnected';
  } else if (offline) {
    text = 'Offline';
    mood = 'closed';
  } else if (retryAt !== null) {
    const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
    text = `Reconnecting in ${seconds} s`;
  } else {
    text = state === 'connecting' ? 'Connecting…' : 'Reconnecting…';
  }
  if ($('status-text').textContent !== text) $('status-text').textContent = text;
  $('status').dataset.state = mood;
  $('reconnect').hidden = state !== 'closed' && retryAt === null;
  // Repeat it while connected too: an upgrade changes the transport.
  if (state !== 'closed') countdown = setTimeout(showStatus, retryAt === null ? 1000 : 250);
}

function notice(text, action = 'Dismiss', run = () => {}) {
  $('notice').hidden = !text;
  $('notice-text').textContent = text;
  $('notice-action').textContent = action;
  $('notice-action').onclick = () => { notice(''); run(); };
}

// ---------------------------------------------------------------- the page's controls

const composer = $('composer');

function fit() {
  composer.style.height = 'auto';
  composer.style.height = `${composer.scrollHeight}px`;
}

composer.addEventListener('input', () => {
  fit();
  sayTyping(composer.value.trim() !== '');
});
composer.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer-form').requestSubmit();
});
composer.addEventListener('blur', () => sayTyping(false));

const onSubmit = (id, run) => $(id).addEventListener('submit', (event) => { event.preventDefault(); run(); });

onSubmit('composer-form', () => {
  const text = composer.value.trim();
  if (text && !front?.edit(text)) send(text);
  composer.value = '';
  fit();
  sayTyping(false);
  composer.focus();
});
onSubmit('room-form', () => {
  const roomId = $('room-input').value.trim();
  if (!roomId) return;
  showSide(false);
  location.hash = encodeURIComponent(roomId);
  composer.focus();
});
onSubmit('name-form', () => {
  const name = plain($('name-input').value, MOST.name);
  if (!name) return;
  me.name = name;
  remember.set('name', name);
  showSide(false);
  room.live.join({ name }); // so that the others see it
  composer.focus();
});

function showSide(open) {
  document.body.classList.toggle('side-open', open);
  $('menu').setAttribute('aria-expanded', String(open));
}
$('menu').addEventListener('click', () => showSide(!document.body.classList.contains('side-open')));
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !document.body.classList.contains('side-open')) return;
  showSide(false);
  $('menu').focus();
});
document.querySelector('main').addEventListener('click', (event) => {
  if (!event.target.closest('#menu')) showSide(false);
});

$('skip').addEventListener('click', (event) => { event.preventDefault(); composer.focus(); }); // do not follow the link: the fragment is the room
$('latest').addEventListener('click', () => log.follow());
$('scroller').addEventListener('keydown', (event) => { if (event.key === 'End') log.follow(); }); // go to the end of all messages, not only of those in the document
$('reconnect').addEventListener('click', () => { client.connect(); showStatus(); });
window.addEventListener('offline', showStatus);
window.addEventListener('online', showStatus);
window.addEventListener('hashchange', () => (front ? front.go() : enter(roomInUrl())));

if (front) {
  document.addEventListener('visibilitychange', markRead);
  front.start({ client, me, enter, entitle, notice, transmit, current: () => room, showStatus, roomInUrl });
} else {
  $('name-input').value = me.name;
  enter(roomInUrl());
}
client.connect();
showStatus();
