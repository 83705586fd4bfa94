// The list of messages on the page. It inserts what other people wrote only as text.

import { content, label, links, parts, plain } from './text.js';
import { Timeline, numberOf, personKey } from './timeline.js';

const GROUP_MS = 5 * 60_000;
const NEAR_END_PX = 80;
const NEAR_START_PX = 200;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** Makes an element: element('p', {className: 'x'}, 'text', child, …). */
export function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Converts a text to nodes. Only links to web pages become elements. They open in another tab. */
const linked = (text, goesOn) => links(text, goesOn).map(({ text, href, host }) => (
  href ? element('a', { href, target: '_blank', rel: 'noopener noreferrer' }, text, host ? element('b', {}, ` (${host})`) : '') : text));

/** Sets a hue for the style sheet, always the same one for the same key. */
export function paint(node, key) {
  let hash = 0;
  for (const char of key) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  node.style.setProperty('--hue', hash % 360);
  return node;
}

export const initial = (name) => (/\p{L}|\p{N}/u.exec(name)?.[0] ?? '?').toUpperCase();

/**
 * The DOM contains at most SHOWN messages, because each added one costs a layout of all of them. If the
 * user scrolls to either end of them, the log adds STEP more there and removes as many at the other end.
 */
const SHOWN = 200, STEP = 50;

export class Log {
  #list;
  #scroller;
  // {isOwn(message), retry(draft), discard(draft), load('older', 'newer' or 'newest'), unseen(count)}, and perhaps nameOf(message),
  // which names authors instead of what they call themselves, and controls(message), the elements for an own message.
  #actions;
  #timeline = new Timeline();
  #entries = new Map(); // seq of a message or clientId of a draft → its element
  #first = 0; // seq of the first message shown
  #last = 0;
  #newest = true; // true if #last was the timeline's newest message at the last draw, and the room's
  #following = true; // the end is in view and stays in view
  #unseen = 0;
  #frame = 0;
  #quiet = false; // true if the next draw shows more than messages that have just arrived

  constructor(list, scroller, actions) {
    this.#list = list;
    this.#scroller = scroller;
    this.#actions = actions;
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(scroller);
  }

  /** Shows another timeline, scrolled to its end. */
  show(timeline) {
    this.#timeline = timeline;
    this.#entries.clear();
    this.#list.replaceChildren();
    this.#first = this.#last = 0;
    this.#setUnseen(0);
    this.#following = this.#quiet = true;
    this.draw(); // at once: the list must not be empty when a scroll event says where it is
  }

  /** True if the end is in view. */
  get following() {
    return this.#following;
  }

  /** Scrolls to the end and stays there. */
  follow() {
    this.#following = true;
    this.draw();
    this.#setUnseen(0);
  }

  /** Draws the timeline's changes in the next frame, all at once. live has the messages that have just arrived. */
  update(live = []) {
    if (live.length === 0) this.#quiet = true;
    if (!this.#following) this.#setUnseen(this.#unseen + live.filter((message) => !this.#actions.isOwn(message)).length);
    this.#timeline.trim(this.#first, this.#last); // here too, because a hidden tab has no frames
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { messages, drafts } = this.#timeline;
    const most = Math.max(SHOWN, this.#scroller.clientHeight >> 3); // more than even the tallest screen holds
    let first = this.#timeline.indexOf(this.#first), end = this.#timeline.indexOf(this.#last + 1);
    if (this.#following) {
      end = messages.length;
      if (end - first > most) first = end - (most >> 1);
    } else {
      const { above, below, screen } = this.#place();
      if (this.#newest && messages.length - first <= most) end = messages.length;
      if (above < screen) {
        first = Math.max(0, first - STEP);
        end = Math.min(end, first + most);
      } else if (below < screen) {
        end = Math.min(messages.length, end + STEP);
        first = Math.max(first, end - most);
      }
    }
    const shown = messages.slice(first, end);
    this.#first = shown[0]?.seq ?? 0;
    this.#last = shown.at(-1)?.seq ?? 0;
    this.#newest = end === messages.length && !this.#timeline.hasNewer;

    // Screen readers should read messages that arrive, but not loaded history.
    this.#scroller.setAttribute('aria-live', this.#quiet ? 'off' : 'polite');
    this.#quiet = false;
    const fixed = this.#following ? undefined : this.#inView();
    const { bottom } = fixed?.getBoundingClientRect() ?? {}; // the bottom, because the day and author above the text may come and go
    this.#arrange(this.#newest || this.#following ? [...shown, ...drafts] : shown);
    this.#timeline.trim(this.#first, this.#last);
    if (this.#following && this.#timeline.hasNewer) this.#actions.load('newest');
    if (this.#following) this.#toEnd();
    else if (fixed?.isConnected) this.#scroller.scrollTop += fixed.getBoundingClientRect().bottom - bottom;
  }

  /** Makes the list contain exactly these items, in this order. It keeps the elements that are already there. */
  #arrange(items) {
    const wanted = new Map(items.map((item) => [item.seq ?? item.clientId, item]));
    for (const [key, entry] of this.#entries) {
      const item = wanted.get(key);
      if (item && (item.seq !== undefined ? numberOf(item) === entry.number : item.error === entry.error)) continue;
      entry.remove();
      this.#entries.delete(key);
    }
    let next = this.#list.firstElementChild;
    for (const [key, item] of wanted) {
      const entry = this.#entries.get(key) ?? this.#entry(item);
      this.#entries.set(key, entry);
      if (entry === next) next = next.nextElementSibling;
      else this.#list.insertBefore(entry, next);
      this.#group(entry);
    }
  }

  /** Returns the heights in px above the visible part, below it, and of it. */
  #place() {
    const { scrollTop: above, scrollHeight, clientHeight: screen } = this.#scroller;
    return { above, below: scrollHeight - above - screen, screen };
  }

  #scrolled() {
    const { above, below, screen } = this.#place();
    this.#following = below < NEAR_END_PX && this.#newest;
    if (this.#following) this.#setUnseen(0);
    const { oldest, newest, hasNewer } = this.#timeline;
    if ((above < screen && this.#first > oldest) || (below < screen && this.#last < newest)) this.update();
    else if (above < NEAR_START_PX) this.#actions.load('older');
    else if (below < screen && hasNewer) this.#actions.load('newer');
  }

  /** Returns the first entry in view. */
  #inView() {
    const { top } = this.#scroller.getBoundingClientRect();
    for (const entry of this.#list.children) if (entry.getBoundingClientRect().bottom > top) return entry;
  }

  /** Makes the element of a stored message or of a draft, which has no seq. */
  #entry(item) {
    if (item.seq === undefined) return this.#draft(item);
    return Object.assign(this.#bubble(item, { own: this.#actions.isOwn(item) }), { number: numberOf(item) });
  }

  #draft(draft) {
    const entry = this.#bubble({ ...draft, timestamp: draft.at }, { own: true });
    entry.error = draft.error;
    entry.classList.add(draft.error ? 'failed' : 'pending');
    entry.querySelector('time').replaceChildren(draft.error ? '' : 'Sending…');
    if (draft.error) {
      entry.querySelector('.bubble').append(element('p', { className: 'error', role: 'alert' },
        element('span', {}, `Not sent: ${draft.error}`),
        element('button', { type: 'button', onclick: () => this.#actions.retry(draft) }, 'Retry'),
        element('button', { type: 'button', onclick: () => this.#actions.discard(draft) }, 'Discard')));
    }
    return entry;
  }

  #bubble(message, { own }) {
    const { text, json, name } = content(message.message);
    const author = message.operatorId || message.userId || '';
    const { nameOf = () => name, controls = () => [] } = this.#actions;
    const shownName = own ? 'You' : label(nameOf(message), author);
    const at = new Date(message.timestamp ?? NaN);
    const known = !Number.isNaN(at.getTime());
    const entry = element('li', { className: own ? 'entry own' : 'entry' },
      element('p', { className: 'day' }, known ? calendar.format(at) : ''),
      element('div', { className: 'bubble' },
        element('p', { className: 'author' },
          element('bdi', { title: plain(author) }, shownName),
          message.operatorId ? element('span', { className: 'badge' }, 'operator') : ''),
        element('div', { className: 'body' },
          ...(message.deleted ? [element('p', { className: 'deleted' }, 'deleted')] : this.#text(text, json)),
          message.rev && !message.deleted ? element('span', { className: 'edited' }, 'edited') : '',
          element('time', known ? { dateTime: at.toISOString(), title: full.format(at) } : {}, known ? clock.format(at) : ''))));
    if (own && message.seq !== undefined && !message.deleted) entry.querySelector('.bubble').append(...controls(message));
    paint(entry, personKey(message));
    Object.assign(entry.dataset, {
      ...(message.seq !== undefined && { seq: message.seq }),
      by: `${personKey(message)} ${shownName}`, at: at.getTime(), day: known ? at.toDateString() : '',
    });
    return entry;
  }

  /** Returns the element of a text or of JSON. It has the first part. If there is more, a button that adds the next part comes with it. */
  #text(text, json) {
    const box = element('div', { className: json === undefined ? 'text' : 'text json' });
    const rest = parts(json ?? text);
    const more = element('button', { type: 'button', className: 'rest' });
    const add = () => {
      const { text: part, left } = rest.next().value;
      box.append(json === undefined ? element('p', { dir: 'auto' }, ...linked(part, left > 0)) : element('code', {}, part));
      more.textContent = `Show more (${left.toLocaleString()} characters)`;
      more.hidden = left === 0;
      return left > 0;
    };
    if (!add()) return [box];
    more.onclick = () => {
      this.#scroller.setAttribute('aria-live', 'off'); // the focus makes screen readers read the part
      add();
      box.tabIndex = 0; // it can be scrolled
      box.lastChild.tabIndex = -1;
      box.lastChild.focus({ preventScroll: true });
      this.#scrolled();
    };
    return [box, more];
  }

  /** Hides the author if the entry before is by the same author and recent, and the day if it is the same. */
  #group(entry) {
    const before = entry.previousElementSibling?.dataset;
    const { by, at, day } = entry.dataset;
    entry.classList.toggle('new-day', day !== '' && before?.day !== day);
    entry.classList.toggle('grouped', before?.by === by && before.day === day && !(at - before.at > GROUP_MS));
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #setUnseen(count) {
    this.#unseen = count;
    this.#actions.unseen(count);
  }
}
