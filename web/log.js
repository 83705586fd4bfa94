// The list of messages on the page. Whatever others wrote gets into it as text only.

import { content, links } from './timeline.js';

const GROUP_MS = 5 * 60_000;
const NEAR_END_PX = 80;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** Makes an element: element('p', {className: 'x'}, 'text', child, …). */
export function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** A text as nodes. Only links to web pages become elements, and those open beside the chat. */
const linked = (text) => links(text).map(({ text, href }) => (href ? element('a', { href, target: '_blank', rel: 'noopener noreferrer' }, text) : text));

/** A colour that stays with its owner, as a hue for the style sheet. */
export function paint(node, key) {
  let hash = 0;
  for (const char of key) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  node.style.setProperty('--hue', hash % 360);
  return node;
}

export const initial = (name) => (/\p{L}|\p{N}/u.exec(name)?.[0] ?? '?').toUpperCase();

export class Log {
  #list;
  #scroller;
  #actions; // {isOwn(message), retry(draft), discard(draft)}
  #following = true; // the end is in view, and stays so
  #unseen = 0;
  #onunseen;

  constructor(list, scroller, actions, onunseen) {
    this.#list = list;
    this.#scroller = scroller;
    this.#actions = actions;
    this.#onunseen = onunseen;
    scroller.addEventListener('scroll', () => {
      this.#following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
      if (this.#following) this.#setUnseen(0);
    }, { passive: true });
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(scroller);
  }

  clear() {
    this.#list.replaceChildren();
    this.#setUnseen(0);
    this.#following = true;
  }

  follow() {
    this.#following = true;
    this.#toEnd();
  }

  /** Adds stored messages. older: they come from scrolling up, so that what is in view must not move. */
  add(messages, { older = false, live = false } = {}) {
    // A screen reader reads what arrives, not what is loaded.
    this.#scroller.setAttribute('aria-live', live ? 'polite' : 'off');
    const fromEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    for (const message of messages) this.#insert(this.#entry(message, { seq: message.seq }));
    if (older) this.#scroller.scrollTop = this.#scroller.scrollHeight - fromEnd;
    else if (this.#following) this.#toEnd();
    else if (live) this.#setUnseen(this.#unseen + messages.filter((message) => !this.#actions.isOwn(message)).length);
  }

  /** Shows a draft, or its new state. */
  draft(draft) {
    const shown = this.#find(draft.clientId);
    const entry = this.#entry({ ...draft, timestamp: draft.at }, { client: draft.clientId, own: true });
    entry.classList.add(draft.error ? 'failed' : 'pending');
    entry.querySelector('time').replaceChildren(draft.error ? '' : 'Sending…');
    if (draft.error) {
      entry.querySelector('.bubble').append(element('p', { className: 'error', role: 'alert' },
        element('span', {}, `Not sent: ${draft.error}`),
        element('button', { type: 'button', onclick: () => this.#actions.retry(draft) }, 'Retry'),
        element('button', { type: 'button', onclick: () => this.#actions.discard(draft) }, 'Discard')));
    }
    if (shown) shown.replaceWith(entry);
    else this.#list.append(entry);
    this.#group(entry);
    if (this.#following) this.#toEnd();
  }

  /** Removes a draft. */
  drop(clientId) {
    this.#find(clientId)?.remove();
  }

  #entry(message, { seq, client, own = this.#actions.isOwn(message) }) {
    const { text, json, name } = content(message.message);
    const author = message.operatorId || message.userId || '';
    const shownName = own ? 'You' : name || author || 'Somebody';
    const at = new Date(message.timestamp ?? NaN);
    const known = !Number.isNaN(at.getTime());
    const entry = element('li', { className: own ? 'entry own' : 'entry' },
      element('p', { className: 'day' }, known ? calendar.format(at) : ''),
      element('div', { className: 'bubble' },
        element('p', { className: 'author' },
          element('bdi', { title: author }, shownName),
          message.operatorId ? element('span', { className: 'badge' }, 'operator') : ''),
        element('div', { className: 'body' },
          json === undefined ? element('p', { className: 'text', dir: 'auto' }, ...linked(text)) : element('pre', { className: 'text' }, element('code', {}, json)),
          element('time', known ? { dateTime: at.toISOString(), title: full.format(at) } : {}, known ? clock.format(at) : ''))));
    paint(entry, author);
    Object.assign(entry.dataset, {
      ...(seq !== undefined && { seq }), ...(client && { client }),
      by: `${message.operatorId ? 'operator' : 'user'} ${author} ${shownName}`, at: at.getTime(), day: known ? at.toDateString() : '',
    });
    return entry;
  }

  #insert(entry) {
    let before = this.#list.lastElementChild;
    while (before && (before.dataset.seq === undefined || Number(before.dataset.seq) > Number(entry.dataset.seq))) {
      before = before.previousElementSibling;
    }
    if (before) before.after(entry);
    else this.#list.prepend(entry);
    this.#group(entry);
    if (entry.nextElementSibling) this.#group(entry.nextElementSibling);
  }

  /** An author is named once, then what follows soon belongs to it; a day likewise. */
  #group(entry) {
    const before = entry.previousElementSibling?.dataset;
    const { by, at, day } = entry.dataset;
    entry.classList.toggle('new-day', day !== '' && before?.day !== day);
    entry.classList.toggle('grouped', before?.by === by && before.day === day && !(at - before.at > GROUP_MS));
  }

  #find(clientId) {
    return this.#list.querySelector(`[data-client="${CSS.escape(clientId)}"]`);
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #setUnseen(count) {
    this.#unseen = count;
    this.#onunseen(count);
  }
}
