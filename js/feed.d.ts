export interface FeedOptions {
  /** Where to begin: the id of the last event you have, or another value that the server understands. */
  lastEventId?: string;
  /** The wait in ms before the first attempt after EventSource gives up. It doubles with each attempt. Default 1000. */
  delay?: number;
  /** The longest wait between attempts, in ms. Default 30000. */
  max?: number;
  withCredentials?: boolean;
  /**
   * Gets a ticket, such as that of POST /api/tickets, which the feed sends as the query parameter ticket.
   * It is called before each new EventSource. If it fails, or takes 10 s, the feed tries again later.
   */
  ticket?(): string | Promise<string>;
  onopen?(): void;
  /** Called after EventSource has given up. delay is the time until the next attempt, in ms. */
  onwait?(wait: { attempt: number; delay: number }): void;
  /** Called when the server has ended the feed with status 204. */
  onend?(): void;
  EventSource?: new (url: string, init?: { withCredentials?: boolean }) => EventSource;
  fetch?: typeof fetch;
  random?(): number;
}

/** Uses one EventSource at a time, and makes another when that gives up. */
export class Feed {
  constructor(url: string | URL, options?: FeedOptions);
  readonly state: 'connecting' | 'open' | 'waiting' | 'ended' | 'closed';
  /** The id of the last event that had a listener or was called message, live or reset. */
  lastEventId: string;
  /** Events without a name are called 'message'. */
  on(name: string, listener: (event: MessageEvent<string>) => void): this;
  off(name: string, listener: (event: MessageEvent<string>) => void): this;
  /** Closes the feed. It does not reconnect. */
  close(): void;
}
