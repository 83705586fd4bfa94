export interface FeedOptions {
  /** Where to begin: the id of the last event that is known, or what else the server understands. */
  lastEventId?: string;
  /** ms before the first attempt after EventSource has given up; doubled from one to the next. 1000 */
  delay?: number;
  /** ms between attempts at most. 30000 */
  max?: number;
  withCredentials?: boolean;
  onopen?(): void;
  /** Called when EventSource has given up, with when the next attempt is, in ms. */
  onwait?(wait: { attempt: number; delay: number }): void;
  /** Called when the server has said that there is no more: 204. */
  onend?(): void;
  EventSource?: new (url: string, init?: { withCredentials?: boolean }) => EventSource;
  fetch?: typeof fetch;
  random?(): number;
}

/** One EventSource at a time, and another one when it gives up. */
export class Feed {
  constructor(url: string | URL, options?: FeedOptions);
  readonly state: 'connecting' | 'open' | 'waiting' | 'ended' | 'closed';
  /** The id of the last event that was listened to, or was a message, live or reset. */
  lastEventId: string;
  /** 'message' is the name of events without one. */
  on(name: string, listener: (event: MessageEvent<string>) => void): this;
  off(name: string, listener: (event: MessageEvent<string>) => void): this;
  /** Ends it for good. */
  close(): void;
}
