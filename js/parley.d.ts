/** Listeners (or emitted events) by name: `{ newMessage(message: Message): void }`. */
export type Events = Record<string, (...args: any[]) => any>;

/** Why something failed. */
export type ErrorCode =
  | 'timeout' //      no answer in time; the server may have acted all the same
  | 'disconnected' // the connection was lost before the answer came; likewise
  | 'closed' //       the client is closed
  | 'buffer_full' //  too much waits for a connection already
  | 'too_large' //    larger than the server's maxPayload
  | 'transport' //    no transport could open; the message says why, for each of them
  | 'refused' //      the server answered CONNECT with an error; `data` is what it added
  | (string & {}); // the server refused an event: its own code

export class ParleyError extends Error {
  constructor(code: ErrorCode, message: string, data?: unknown);
  readonly code: ErrorCode;
  readonly data: any;
}

export interface BackoffOptions {
  /** The first wait, in ms. Default 1000; it doubles with each attempt. */
  delay?: number;
  /** The longest wait, in ms, jitter included. Default 5000. */
  max?: number;
  /** How far a wait may be off, as a part of it. Default 0.5. */
  jitter?: number;
}

/** Engine.IO packets: text with its type digit, or a binary message. */
export type Packet = string | ArrayBuffer;

/** What the server's OPEN packet says. */
export interface Handshake {
  sid: string;
  upgrades: string[];
  pingInterval: number;
  pingTimeout: number;
  maxPayload?: number;
}

export interface TransportContext {
  url(protocol: 'http' | 'ws'): string;
  /** null before there is one. */
  readonly handshake: Handshake | null;
  readonly maxPayload: number;
  /** Those of the transport's entry in Options.transports. */
  readonly options: Record<string, any>;
  readonly WebSocket: typeof WebSocket | undefined;
  readonly fetch: typeof fetch | undefined;
}

/** What a transport reports; nothing may be reported after close. */
export interface TransportEvents {
  open(): void;
  packet(packet: Packet): void;
  drain(): void;
  /** error.clean: the server has ended it in good order. */
  close(reason: 'transport close' | 'transport error', error: Error & { clean?: boolean }): void;
}

export interface Transport {
  readonly writable: boolean;
  readonly congested?: boolean;
  open(): void;
  send(packets: Packet[]): void;
  close(polite: boolean): void;
  /** Only of transports that can be upgraded from: resolves once nothing is in flight. */
  pause?(): Promise<unknown>;
  resume?(): void;
}

export interface TransportClass {
  readonly kind: string;
  /** Binary packets are sent as base64. */
  readonly base64?: boolean;
  new (context: TransportContext, events: TransportEvents): Transport;
}

export class WebSocketTransport implements Transport {
  static readonly kind: string;
  constructor(context: TransportContext, events: TransportEvents);
  writable: boolean;
  get congested(): boolean;
  open(): void;
  send(packets: Packet[]): void;
  close(polite?: boolean): void;
}

/** What transports over HTTP have in common: what the client sends goes in POSTs. */
export abstract class HTTPTransport implements Transport {
  static readonly base64: boolean;
  constructor(context: TransportContext, events: TransportEvents);
  protected readonly context: TransportContext;
  protected readonly events: TransportEvents;
  protected readonly signal: AbortSignal;
  protected readonly paused: boolean;
  protected readonly closed: boolean;
  writable: boolean;
  open(): void;
  send(packets: Packet[]): void;
  close(polite: boolean): void;
  pause(): Promise<unknown>;
  resume(): void;
  /** Reports the server's packets until paused or closed; fails when that cannot go on. */
  protected abstract receive(): Promise<void>;
  protected begin(): void;
  protected packet(text: string): void;
  protected fetch(method: string, request?: { url?: string; signal?: AbortSignal; body?: string }): Promise<Response>;
  protected request(method: string, body?: string): Promise<string | void>;
}

export class PollingTransport extends HTTPTransport {
  static readonly kind: string;
  protected receive(): Promise<void>;
}

/** An event stream, which goes on where it was cut. For Parley's servers. */
export class SSETransport extends HTTPTransport {
  static readonly kind: string;
  protected receive(): Promise<void>;
}

export function fromBase64(text: string): ArrayBuffer;

/** More classes are in transports.js. */
export type TransportName = 'websocket' | 'sse' | 'polling' | TransportClass;

export interface Options {
  /** Default '/socket.io/'; one without a leading slash is relative to the URL. */
  path?: string;
  /** Default '/'. */
  namespace?: string;
  /** Sent with each CONNECT. A function is called for each connection; if it throws, that attempt has failed. */
  auth?: object | (() => object | null | undefined | Promise<object | null | undefined>);
  /** Added to the URL of each request. */
  query?: Record<string, string>;
  /**
   * In order of preference, each with its own time to open if wanted. Default ['websocket', 'sse', 'polling'].
   * When one cannot open the next is tried; the one that worked is tried first for ten minutes,
   * or until the network changes. One that opens and is cut, twice in a row, is tried last as long.
   */
  transports?: (TransportName | { transport: TransportName; timeout?: number; options?: Record<string, any> })[];
  /** Upgrade to a transport further down the list that the server offers, as from polling to WebSocket. Default false. */
  upgrade?: boolean;
  /** In ms. open: for each transport but the last (5000); connect: for the last one, and for the answer to CONNECT (20000); ack: for request() (10000). */
  timeouts?: { open?: number; connect?: number; ack?: number };
  /** Default true: for ever. */
  reconnection?: boolean | (BackoffOptions & { attempts?: number });
  /** How many events may wait for a connection. Default 1000. */
  bufferSize?: number;
  /** Default: the global one. null: none. */
  WebSocket?: any;
  /** Default: the global one. A place for credentials and headers of polling. */
  fetch?: typeof fetch | null;
}

export type State = 'connecting' | 'connected' | 'reconnecting' | 'closed';

export type DisconnectReason =
  | 'io server disconnect' // final, as is the next
  | 'io client disconnect'
  | 'ping timeout'
  | 'transport close'
  | 'transport error'
  | 'parse error';

/** Events of the client itself. */
export interface ClientEvents {
  connect(): void;
  disconnect(reason: DisconnectReason, error?: Error): void;
  connect_error(error: Error | ParleyError): void;
  /** at: when the next attempt begins, as Date.now(). */
  reconnecting(next: { attempt: number; delay: number; at: number }): void;
}

type Listener<L extends Events, K> = K extends keyof ClientEvents ? ClientEvents[K] : K extends keyof L ? L[K] : never;
type Answer<F> = F extends (...args: any[]) => infer R ? Awaited<R> : never;

/**
 * One namespace of one server. L: the events the server sends; E: the events it takes, with what it
 * answers as their return type: `{ joinRoom(join: Join): Joined }`.
 */
export class Client<L extends Events = Events, E extends Events = Events> {
  constructor(url?: string | URL, options?: Options);
  get state(): State;
  get connected(): boolean;
  /** While reconnecting: when the next attempt begins (as Date.now()), null while one is being made. */
  get retryAt(): number | null;
  /** The kind of the transport in use, null when not connected. */
  get transport(): string | null;
  get id(): string | undefined;
  /** True when this connection continues the last one: no event was missed. */
  get recovered(): boolean;
  on<K extends keyof ClientEvents | (keyof L & string)>(event: K, listener: Listener<L, K>): this;
  once<K extends keyof ClientEvents | (keyof L & string)>(event: K, listener: Listener<L, K>): this;
  off<K extends keyof ClientEvents | (keyof L & string)>(event: K, listener?: Listener<L, K>): this;
  /** Opens a closed client again; one that waits for its next attempt makes it now. */
  connect(): this;
  /** Closes for good: what was sent still leaves, what waits for an acknowledgement fails. */
  close(): this;
  /** Returns false when the event was dropped: client closed, buffer full, packet too large. */
  emit<K extends keyof E & string>(event: K, ...args: Parameters<E[K]> | [...Parameters<E[K]>, (answer: Answer<E[K]>, ...more: any[]) => void]): boolean;
  /** Sends only if that can be done now. */
  volatile<K extends keyof E & string>(event: K, ...args: Parameters<E[K]>): boolean;
  /** Resolves with the acknowledgement's first argument; rejects with a ParleyError on timeout, on loss, and when the server refuses the event. */
  request<K extends keyof E & string>(event: K, ...args: Parameters<E[K]>): Promise<Answer<E[K]>>;
  /** The same with another timeout in ms; Infinity for none. */
  timeout(ms: number): Pick<Client<L, E>, 'request'> & {
    /** Calls back before anything that the server has sent after the answer reaches a listener. Code that awaits a request may run later. */
    emit<K extends keyof E & string>(event: K, ...args: [...Parameters<E[K]>, (error: ParleyError | null, answer?: Answer<E[K]>) => void]): void;
  };
}

/** Makes a client and opens it. url: the server's origin; without one, the page's. */
export function connect<L extends Events = Events, E extends Events = Events>(url?: string | URL, options?: Options): Client<L, E>;

export interface SocketPacket {
  /** 0 CONNECT, 1 DISCONNECT, 2 EVENT, 3 ACK, 4 CONNECT_ERROR */
  type: number;
  nsp?: string;
  id?: number;
  data?: any;
}
export function encode(packet: SocketPacket): Packet[];
export class Decoder {
  add(part: Packet): SocketPacket | null;
}
export function backoff(attempt: number, options?: BackoffOptions, random?: () => number): number;
