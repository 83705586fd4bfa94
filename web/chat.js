// The chat page: one connection, one room at a time.

import { connect } from './parley.js';
import { Log, element, initial, paint } from './log.js';
import { Timeline, draftId } from './timeline.js';

const PAGE = 50;
const TYPING_EVERY_MS = 2500;
const TYPING_LASTS_MS = 6000;
const TRANSPORTS = { webtransport: 'WebTransport', websocket: 'WebSocket', sse: 'HTTP streaming', polling: 'HTTP polling' };

const $ = (id) => document.getElementById(id);

/** Storage that is blocked or full must not stop the chat. */
const remember = {
  get(key, area = localStorage) { try { return area.getItem(`parley.${key}`); } catch { return null; } },
  set(key, value, area = localStorage) { try { area.setItem(`parley.${key}`, value); } catch { /* not remembered, then */ } },
};

const me = {
  userId: remember.get('userId') ?? draftId(),
  name: remember.get('name') ?? `Guest ${1000 + Math.floor(Math.random() * 9000)}`,
};
remember.set('userId', me.userId);
remember.set('name', me.name);

const wanted = (new URLSearchParams(location.search).get('transport') ?? '').split(',').filter((kind) => Object.hasOwn(TRANSPORTS, kind));
const client = connect('', {
  path: document.querySelector('meta[name="parley-path"]').content,
  ...(wanted.length && { transports: await Promise.all(wanted.map(transport)), upgrade: true }),
});

/** WebTransport is in a file of its own. With a self-signed certificate, for development, it has to be told which. */
async function transport(kind) {
  if (kind !== 'webtransport') return kind;
  const { WebTransportTransport } = await import('./transports.js');
  const hash = await fetch('certificate-hash').then((response) => (response.ok ? response.json() : null), () => null);
  const options = hash ? { serverCertificateHashes: [{ ...hash, value: Uint8Array.from(atob(hash.value), (c) => c.charCodeAt(0)) }] } : {};
  return { transport: WebTransportTransport, options };
}

const log = new Log($('log'), $('scroller'), {
  isOwn: (message) => !message.operatorId && message.userId === me.userId,
  retry, discard, older: loadOlder,
  unseen(count) {
    $('latest').hidden = count === 0;
    $('latest').textContent = count === 1 ? '1 new message' : `${count} new messages`;
  },
});

/** What belongs to the room on the screen; replaced as a whole, so that a late answer finds itself out of date. */
let room = null;

const ask = (event, payload) => client.request(event, payload);

// ---------------------------------------------------------------- rooms and history

const roomInUrl = () => {
  try { return decodeURIComponent(location.hash.slice(1)) || 'lobby'; } catch { return location.hash.slice(1); }
};

function enter(roomId) {
  if (room && client.connected) client.request('leaveRoom', { roomId: room.id }).catch(() => {}); // whatever is answered
  room = { id: roomId, timeline: new Timeline(), joined: false, refused: false, loading: false, members: new Map(), typing: new Map(), typedAt: 0 };
  $('title').textContent = roomId;
  $('room-input').value = roomId;
  document.title = `${roomId} · Parley`;
  log.show(room.timeline);
  notice('');
  showRoom();
  showPeople();
  showTyping();
  for (const draft of JSON.parse(remember.get(`outbox.${roomId}`, sessionStorage) ?? '[]')) addDraft(draft);
  if (client.connected) join();
}

/** Joins, or joins again after a break: continues where the timeline ends, until nothing is missing. */
async function join() {
  const here = room;
  const { timeline } = here;
  const known = timeline.epoch !== undefined;
  here.joined = here.refused = false;
  const attempt = here.attempt = {};
  const current = () => room === here && here.attempt === attempt;
  try {
    let page = await ask('joinRoom', {
      roomId: here.id, userId: me.userId, name: me.name, limit: PAGE, ...(known && { after: timeline.head, epoch: timeline.epoch }),
    });
    if (!current()) return;
    if (!known || page.reset || page.epoch !== timeline.epoch) {
      const live = known ? [] : timeline.messages; // arrived before this answer
      timeline.reset(page.epoch);
      timeline.hasOlder = page.hasMore;
      log.show(timeline);
      store(live);
    }
    setMembers(page.members ?? []);
    store(page.messages);
    while (known && page.messages.length > 0 && page.messages.at(-1).seq < page.lastSeq) {
      timeline.head = page.messages.at(-1).seq;
      page = await ask('history', { roomId: here.id, after: timeline.head, limit: PAGE });
      if (!current()) return;
      store(page.messages);
    }
    timeline.head = Math.max(page.lastSeq, timeline.messages.at(-1)?.seq ?? 0);
    here.joined = true;
    notice('');
    showRoom();
    fillScreen();
    timeline.drafts.filter((draft) => !draft.error).forEach(transmit);
  } catch (error) {
    if (current() && client.connected) {
      here.refused = true;
      notice(`Could not join the room: ${error.message}`, 'Try again', join);
    }
  }
  showStatus();
}

function store(messages, how) {
  const { drafts } = room.timeline;
  const fresh = messages.filter((message) => room.timeline.add(message, how));
  log.update(how?.live ? fresh : []);
  if (room.timeline.drafts.length < drafts.length) saveOutbox();
}

async function loadOlder() {
  const here = room;
  const { timeline } = here;
  if (here.loading || !here.joined || !timeline.hasOlder || timeline.oldest === undefined) return;
  here.loading = true;
  showRoom();
  try {
    const page = await ask('history', { roomId: here.id, before: timeline.oldest, limit: PAGE });
    if (room !== here || page.epoch !== timeline.epoch) return;
    timeline.hasOlder = page.hasMore && page.messages.length > 0;
    store(page.messages);
  } catch (error) {
    if (room === here && client.connected) notice(`Could not load earlier messages: ${error.message}`);
  } finally {
    here.loading = false;
    if (room === here) showRoom();
  }
}

/** Where a page of history does not fill the screen there is nothing to scroll. */
async function fillScreen() {
  const here = room;
  log.draw();
  for (let pages = 0; pages < 5 && room === here && here.timeline.hasOlder && $('scroller').scrollHeight <= $('scroller').clientHeight; pages++) {
    await loadOlder();
    log.draw();
  }
}

function showRoom() {
  const { timeline, joined, loading } = room;
  const empty = timeline.messages.length + timeline.drafts.length === 0;
  $('top').textContent = loading ? 'Loading earlier messages…' : joined && !timeline.hasOlder && !empty ? 'This is the beginning of the room.' : '';
  $('empty').hidden = !joined || !empty;
}

// ---------------------------------------------------------------- sending

function saveOutbox() {
  remember.set(`outbox.${room.id}`, JSON.stringify(room.timeline.drafts), sessionStorage);
}

function addDraft(draft) {
  room.timeline.drafts.push(draft);
  log.update();
  saveOutbox();
  showRoom();
}

function send(text) {
  const draft = { clientId: draftId(), message: { text, name: me.name }, at: Date.now() };
  addDraft(draft);
  log.follow();
  if (room.joined) transmit(draft); // otherwise joining will
}

/** Sends a draft. Whatever becomes of it, sending it again is safe: the server stores a clientId once. */
async function transmit(draft) {
  const here = room;
  const still = () => room === here && here.timeline.drafts.includes(draft);
  try {
    const stored = await ask('sendMessage', { roomId: here.id, message: draft.message, clientId: draft.clientId });
    if (stored.userId && !stored.operatorId) me.userId = stored.userId; // the server knows better who this is
    if (still()) receive({ clientId: draft.clientId, ...stored });
  } catch (error) {
    // A lost connection is no failure: joining again sends what is left.
    if (!still() || error.code === 'disconnected') return;
    draft.error = error.code === 'timeout' ? 'the server did not answer' : error.message;
    log.update();
    saveOutbox();
  }
}

function retry(draft) {
  delete draft.error;
  log.update();
  saveOutbox();
  if (room.joined) transmit(draft);
}

function discard(draft) {
  room.timeline.drafts = room.timeline.drafts.filter((other) => other !== draft);
  log.update();
  saveOutbox();
  showRoom();
  $('composer').focus();
}

function receive(message) {
  if (message?.roomId !== room.id) return;
  store([message], { live: true });
  // Until joining is complete the live messages run ahead of what is still missing.
  if (room.joined) room.timeline.head = Math.max(room.timeline.head, message.seq);
  room.typing.delete(message.operatorId || message.userId);
  showTyping();
  showRoom();
}

// ---------------------------------------------------------------- people

function setMembers(members) {
  room.members = new Map(members.map((member) => [member.id, member]));
  showPeople();
}

const personKey = ({ id, userId, operatorId }) => operatorId || userId || id;
const personName = (member) => member.name || personKey(member);

function showPeople() {
  const people = new Map(); // somebody with two tabs is one person
  for (const member of room.members.values()) people.set(personKey(member), member);
  const isMe = (member) => member.id === client.id || member.userId === me.userId;
  const sorted = [...people.values()].sort((a, b) => isMe(b) - isMe(a) || personName(a).localeCompare(personName(b)));
  $('people').replaceChildren(...sorted.map((member) => paint(element('li', {},
    element('span', { className: 'avatar', ariaHidden: 'true' }, initial(personName(member))),
    element('bdi', {}, personName(member)),
    member.operatorId ? element('span', { className: 'badge' }, 'operator') : '',
    isMe(member) ? element('span', { className: 'you' }, 'you') : ''), personKey(member))));
  $('people-count').textContent = people.size || '';
}

function showTyping() {
  const names = [...room.typing.values()].map(({ name }) => name);
  $('typing').textContent = names.length === 0 ? ''
    : names.length === 1 ? `${names[0]} is typing…`
    : names.length === 2 ? `${names[0]} and ${names[1]} are typing…`
    : 'Several people are typing…';
}

function heardTyping({ roomId, typing, ...member }) {
  const key = personKey(member);
  if (roomId !== room.id || key === me.userId) return;
  const here = room;
  clearTimeout(here.typing.get(key)?.timer);
  here.typing.delete(key);
  const over = () => { here.typing.delete(key); if (room === here) showTyping(); };
  if (typing) here.typing.set(key, { name: personName(member), timer: setTimeout(over, TYPING_LASTS_MS) });
  showTyping();
}

function sayTyping(typing) {
  if (!room.joined || (typing ? Date.now() - room.typedAt < TYPING_EVERY_MS : room.typedAt === 0)) return;
  room.typedAt = typing ? Date.now() : 0;
  client.volatile('typing', { roomId: room.id, typing });
}

// ---------------------------------------------------------------- connection

client.on('connect', () => { join(); showStatus(); });
client.on('disconnect', () => { room.joined = false; setMembers([]); showStatus(); });
client.on('reconnecting', showStatus);
client.on('connect_error', (error) => {
  if (client.state === 'closed') notice(`The server refused the connection: ${error.message}`);
  showStatus();
});

client.on('newMessage', receive);
client.on('typing', heardTyping);
client.on('presence', ({ roomId, type, member }) => {
  if (roomId !== room.id || !member) return;
  if (type === 'join') room.members.set(member.id, member);
  else room.members.delete(member.id);
  room.typing.delete(personKey(member));
  showPeople();
  showTyping();
});
client.on('error', (error) => notice(error?.message ?? 'The server reported an error.'));

let countdown;
function showStatus() {
  clearTimeout(countdown);
  const { state, retryAt } = client;
  const offline = navigator.onLine === false;
  let text, mood = state;
  if (state === 'connected') {
    text = room.joined ? `Connected · ${TRANSPORTS[client.transport] ?? client.transport}` : room.refused ? 'Not in the room' : 'Joining…';
    if (!room.joined) mood = room.refused ? 'closed' : 'connecting';
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
  // Also while connected: an upgrade changes the transport.
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
  if (text) send(text);
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
  const name = $('name-input').value.trim();
  if (!name) return;
  me.name = name;
  remember.set('name', name);
  showSide(false);
  if (client.connected) join(); // tells the others
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

$('skip').addEventListener('click', (event) => { event.preventDefault(); composer.focus(); }); // the fragment is the room
$('latest').addEventListener('click', () => log.follow());
$('reconnect').addEventListener('click', () => { client.connect(); showStatus(); });
window.addEventListener('offline', showStatus);
window.addEventListener('online', showStatus);
window.addEventListener('hashchange', () => enter(roomInUrl()));

$('name-input').value = me.name;
enter(roomInUrl());
showStatus();
