/**
 * Server-Sent Events that go on where EventSource gives up: after any status but 200, or another
 * content type, as a proxy answers while servers are restarted, a browser closes it for good.
 *
 *   import { Feed } from '/feed.js';
 *   const feed = new Feed('/rooms/support-42/events');
 *   feed.on('newMessage', ({ data }) => show(JSON.parse(data)));
 *   feed.on('reset', clear);
 *
 * A Feed has one EventSource at a time. While that reconnects by itself, it is left alone; when it
 * is closed, another one begins after the last event that has been handled. No dependencies, for
 * browsers, and for Node with an EventSource given. Types are in feed.d.ts.
 */
export class Feed {
  #url; #options; #source; #timer; #checking;
  #attempt = 0;
  // Functions by the event's name. The id counts of these events as well that nobody listens to:
  // "live" is the first that the feed of a room says, and has the position where it begins.
  #listeners = new Map(['message', 'live', 'reset'].map((name) => [name, new Set()]));

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { delay: 1000, max: 30_000, EventSource: globalThis.EventSource, fetch: globalThis.fetch?.bind(globalThis), random: Math.random, ...options };
    this.lastEventId = options.lastEventId ?? '';
    /** connecting, open, waiting (for the next attempt), ended (by the server) or closed. */
    this.state = 'connecting';
    // After the code that makes the feed has said what it listens to.
    queueMicrotask(() => { if (this.state === 'connecting') this.#open(); });
  }

  /** Calls listener(event), an event of EventSource's, for all such events from now on. */
  on(name, listener) {
    if (!this.#listeners.has(name)) {
      this.#listeners.set(name, new Set());
      this.#source?.addEventListener(name, this.#handle);
    }
    this.#listeners.get(name).add(listener);
    return this;
  }

  off(name, listener) {
    this.#listeners.get(name)?.delete(listener); // the name stays: its ids count
    return this;
  }

  /** Ends it for good. */
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
    return url.href;
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
    // One that was queued when its source was given up would come again from the next.
    if (event.target !== this.#source) return;
    if (event.lastEventId) this.lastEventId = event.lastEventId;
    for (const listener of [...this.#listeners.get(event.type)]) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => { throw error; }); // as EventSource itself reports it; others still hear of the event
      }
    }
  };

  /** Tries again later; seconds are what the server has asked for. */
  #wait(seconds = 0) {
    this.#release();
    this.state = 'waiting';
    const { delay, max, random } = this.#options;
    const wait = Math.max(Math.min(max, delay * 2 ** this.#attempt++) * (0.5 + random() / 2), Math.min(seconds * 1000, max));
    this.#timer = setTimeout(() => this.#check(), wait);
    this.#options.onwait?.({ attempt: this.#attempt, delay: wait });
  }

  /** Asks for the status, which EventSource does not tell: 204 is the end. */
  async #check() {
    const { fetch, withCredentials } = this.#options;
    if (!fetch) return this.#open();
    const checking = this.#checking = new AbortController();
    const timeout = setTimeout(() => checking.abort(), 10_000);
    let response;
    try {
      response = await fetch(this.#address(), { method: 'HEAD', cache: 'no-store', credentials: withCredentials ? 'include' : 'same-origin', signal: checking.signal });
    } catch { /* there is no connection */ }
    clearTimeout(timeout);
    if (this.state !== 'waiting' || checking !== this.#checking) return;
    this.#checking = undefined;
    const status = response?.status;
    if (status === 204) {
      this.state = 'ended';
      this.#options.onend?.();
    } else if (status === 200 || status === 405 || status === 501) { // the latter two know no HEAD
      this.#open();
    } else {
      this.#wait(Number(response?.headers.get('Retry-After')) || 0);
    }
  }
}
