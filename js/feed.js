/**
 * Server-Sent Events that go on where EventSource gives up. A browser closes an EventSource for ever
 * after a status other than 200 or another content type. A proxy answers like that during a restart.
 *
 *   import { Feed } from '/feed.js';
 *   const feed = new Feed('/rooms/support-42/events');
 *   feed.on('newMessage', ({ data }) => show(JSON.parse(data)));
 *   feed.on('reset', clear);
 *
 * A server may want to know who you are. An EventSource can send no header, so give the feed a function
 * that gets a ticket. It is called before each new EventSource, because a ticket ends a minute after
 * the feed has lost its connection.
 *
 *   new Feed(path, { ticket: async () => (await post('/api/tickets', { path })).ticket });
 *
 * A Feed uses one EventSource at a time. While that reconnects by itself, the Feed does nothing. If the
 * browser closes it, the Feed makes another one, which begins after the last event handled. It has no
 * dependencies. It works in browsers, and in Node if you pass an EventSource. The types are in feed.d.ts.
 */
export class Feed {
  #url; #options; #source; #timer; #checking; #ticket;
  #attempt = 0;
  // Listeners by event name. The feed always handles these three names, so that it learns their ids
  // even without listeners: "live" is the first event of a room's feed, and its id is the start position.
  #listeners = new Map(['message', 'live', 'reset'].map((name) => [name, new Set()]));

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { delay: 1000, max: 30_000, EventSource: globalThis.EventSource, fetch: globalThis.fetch?.bind(globalThis), random: Math.random, ...options };
    this.lastEventId = options.lastEventId ?? '';
    /** connecting, open, waiting (for the next attempt), ended (by the server) or closed. */
    this.state = 'connecting';
    // Open after the caller's code has added its listeners.
    queueMicrotask(() => { if (this.state === 'connecting') this.#begin(); });
  }

  /** Calls listener(event) for each event with this name from now on. event is EventSource's. */
  on(name, listener) {
    if (!this.#listeners.has(name)) {
      this.#listeners.set(name, new Set());
      this.#source?.addEventListener(name, this.#handle);
    }
    this.#listeners.get(name).add(listener);
    return this;
  }

  off(name, listener) {
    this.#listeners.get(name)?.delete(listener); // keep the name: the feed still needs the ids of its events
    return this;
  }

  /** Closes the feed. It does not reconnect. */
  close() {
    if (this.state !== 'ended') this.state = 'closed';
    this.#release();
  }

  #release() {
    clearTimeout(this.#timer);
    this.#checking?.abort();
    this.#source?.close();
    this.#source = undefined;
  }

  #address() {
    const url = new URL(this.#url, globalThis.document?.baseURI);
    if (this.lastEventId) url.searchParams.set('lastEventId', this.lastEventId);
    if (this.#ticket) url.searchParams.set('ticket', this.#ticket);
    return url.href;
  }

  async #begin() {
    if (!this.#options.ticket || await this.#prove('connecting')) this.#open();
  }

  /** Gets a ticket. Reports false if there is none, or if the feed has left the state meanwhile. */
  async #prove(state) {
    const proving = this.#checking = new AbortController();
    const timeout = setTimeout(() => proving.abort(), 10_000);
    let ticket;
    try {
      const ended = new Promise((_, reject) => { proving.signal.onabort = reject; });
      ticket = await Promise.race([this.#options.ticket(), ended]);
    } catch { /* try again later */ }
    clearTimeout(timeout);
    if (this.state !== state || proving !== this.#checking) return false;
    this.#checking = undefined;
    this.#ticket = ticket;
    if (!ticket) this.#wait();
    return !!ticket;
  }

  #open() {
    this.state = 'connecting';
    const source = this.#source = new this.#options.EventSource(this.#address(), { withCredentials: !!this.#options.withCredentials });
    source.onopen = () => {
      if (source !== this.#source) return;
      this.#attempt = 0;
      this.state = 'open';
      this.#options.onopen?.();
    };
    source.onerror = () => {
      if (source !== this.#source) return;
      this.state = 'connecting';
      if (source.readyState === 2) this.#wait();
    };
    for (const name of this.#listeners.keys()) source.addEventListener(name, this.#handle);
  }

  #handle = (event) => {
    // Ignore an event of an earlier source: the current source sends it again.
    if (event.target !== this.#source) return;
    if (event.lastEventId) this.lastEventId = event.lastEventId;
    for (const listener of [...this.#listeners.get(event.type)]) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => { throw error; }); // report it as EventSource does, and go on with the other listeners
      }
    }
  };

  /** Schedules the next attempt. seconds is the server's Retry-After. */
  #wait(seconds = 0) {
    this.#release();
    this.state = 'waiting';
    const { delay, max, random } = this.#options;
    const wait = Math.max(Math.min(max, delay * 2 ** this.#attempt++) * (0.5 + random() / 2), Math.min(seconds * 1000, max));
    this.#timer = setTimeout(() => this.#check(), wait);
    this.#options.onwait?.({ attempt: this.#attempt, delay: wait });
  }

  /** Requests the status, which EventSource does not reveal. 204 ends the feed. */
  async #check() {
    const { fetch, withCredentials, ticket } = this.#options;
    if (ticket && !await this.#prove('waiting')) return;
    if (!fetch) return this.#open();
    const checking = this.#checking = new AbortController();
    const timeout = setTimeout(() => checking.abort(), 10_000);
    let response;
    try {
      response = await fetch(this.#address(), { method: 'HEAD', cache: 'no-store', credentials: withCredentials ? 'include' : 'same-origin', signal: checking.signal });
    } catch { /* no connection */ }
    clearTimeout(timeout);
    if (this.state !== 'waiting' || checking !== this.#checking) return;
    this.#checking = undefined;
    const status = response?.status;
    if (status === 204) {
      this.state = 'ended';
      this.#options.onend?.();
    } else if (status === 200 || status === 405 || status === 501) { // 405 and 501: the server does not support HEAD
      this.#open();
    } else {
      this.#wait(Number(response?.headers.get('Retry-After')) || 0);
    }
  }
}
