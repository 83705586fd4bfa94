/** Listeners or emitted events by name: `{ newMessage(message: Message): void }`. */
export type Events = Record<string, (...args: any[]) => any>;

/** Why something failed. */
export type ErrorCode =
  | 'timeout' //      no answer in time; the server may have processed the event anyway
  | 'disconnected' // the connection was lost before the answer came; likewise
  | 'closed' //       the client is closed
  | 'buffer_full' //  too many events already wait for a connection
  | 'too_large' //    the packet is larger than the server's maxPayload
  | 'transport' //    no transport could open; the message gives the reason for each of them
  | 'refused' //      the server answered CONNECT with an error; `data` is the error's data
  | (string & {}); // the server refused an event; this is the server's code

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
  /** How far a wait may vary, as a fraction of it. Default 0.5. */
  jitter?: number;
}

/** An Engine.IO packet: text that starts with its type digit, or a binary message. */
export type Packet = string | ArrayBuffer;

/** The content of the server's OPEN packet. */
export interface Handshake {
  sid: string;
  upgrades: string[];
  pingInterval: number;
  pingTimeout: number;
  maxPayload?: number;
}

export interface TransportContext {
  url(protocol: 'http' | 'ws'): string;
  /** null before the server's OPEN packet has come. */
  readonly handshake: Handshake | null;
  readonly maxPayload: number;
  /** The options of the transport's entry in Options.transports. */
  readonly options: Record<string, any>;
  readonly WebSocket: typeof WebSocket | undefined;
  readonly fetch: typeof fetch | undefined;
}

/** The callbacks of a transport. It must not call any of them after close. */
export interface TransportEvents {
  open(): void;
  packet(packet: Packet): void;
  drain(): void;
  /** error.clean is true if the server closed the transport properly. */
  close(reason: 'transport close' | 'transport error', error: Error & { clean?: boolean }): void;
}

export interface Transport {
  readonly writable: boolean;
  readonly congested?: boolean;
  open(): void;
  send(packets: Packet[]): void;
  close(polite: boolean): void;
  /** Only for transports that can be upgraded from. Resolves once nothing is in flight. */
  pause?(): Promise<unknown>;
  resume?(): void;
}

export interface TransportClass {
  readonly kind: string;
  /** True if the transport sends binary packets as base64. */
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

/** The common part of transports over HTTP. It sends the client's packets in POSTs. */
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
  /** Reports the server's packets until paused or closed. Rejects if it cannot go on. */
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

/** An event stream that resumes where it was cut. It needs a Parley server. */
export class SSETransport extends HTTPTransport {
  static readonly kind: string;
  protected receive(): Promise<void>;
}

export function fromBase64(text: string): ArrayBuffer;

/** transports.js has more classes. */
export type TransportName = 'websocket' | 'sse' | 'polling' | TransportClass;

export interface Options {
  /** Default '/socket.io/'. A path without a leading slash is relative to the URL. */
  path?: string;
  /** Default '/'. */
  namespace?: string;
  /** Sent with each CONNECT. The client calls a function for each connection. If the function throws, that attempt fails. */
  auth?: object | (() => object | null | undefined | Promise<object | null | undefined>);
  /** Added to the URL of each request. */
  query?: Record<string, string>;
  /**
   * In order of preference. Each can have its own timeout to open. Default ['websocket', 'sse', 'polling'].
   * If one cannot open, the client tries the next. It tries the one that worked first for ten minutes,
   * or until the network changes. For the same time, it tries one last that opens and is cut twice in a row.
   */
  transports?: (TransportName | { transport: TransportName; timeout?: number; options?: Record<string, any> })[];
  /** Upgrade to a transport further down the list if the server offers it, for example from polling to WebSocket. Default false. */
  upgrade?: boolean;
  /** In ms. open: for each transport except the last (5000). connect: for the last one, and for the answer to CONNECT (20000). ack: for request() (10000). */
  timeouts?: { open?: number; connect?: number; ack?: number };
  /** Default true: the client reconnects for ever. */
  reconnection?: boolean | (BackoffOptions & { attempts?: number });
  /**
   * How many events may wait for a connection. Default 1000. They are sent after what your `connect` listeners
   * send, so listeners can join rooms first.
   */
  bufferSize?: number;
  /** Default: the global one. null: none. */
  WebSocket?: any;
  /** Default: the global one. Replace it to add credentials or headers to HTTP requests. */
  fetch?: typeof fetch | null;
}

export type State = 'connecting' | 'connected' | 'reconnecting' | 'closed';

export type DisconnectReason =
  | 'io server disconnect' // final: the client does not reconnect; likewise the next
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
  /** at: the time of the next attempt, as Date.now(). */
  reconnecting(next: { attempt: number; delay: number; at: number }): void;
}

type Listener<L extends Events, K> = K extends keyof ClientEvents ? ClientEvents[K] : K extends keyof L ? L[K] : never;

/** The callback that the last parameter of an event is, as socket.io-client has it. Not what could be anything. */
type Callback<F extends (...args: any[]) => any> = Parameters<F> extends [...any[], infer C] ? (0 extends 1 & C ? never : C extends (answer: infer A, ...more: any[]) => any ? { answer: A } : never) : never;
/** The arguments of an event, without a callback. */
type Sent<F extends (...args: any[]) => any> = [Callback<F>] extends [never] ? Parameters<F> : Parameters<F> extends [...infer A, any] ? A : never;
/** What the server answers, unless it refuses. */
type Answer<F extends (...args: any[]) => any> = [Callback<F>] extends [never] ? Awaited<ReturnType<F>> : Exclude<Callback<F>['answer'], { error: { code: string; message: string } }>;
/** What a bare acknowledgement may be. */
type Acknowledged<F extends (...args: any[]) => any> = [Callback<F>] extends [never] ? Answer<F> : Callback<F>['answer'];

/**
 * One namespace of one server. L has the events that the server sends. E has the events that it takes,
 * with its answers as return types, `{ joinRoom(join: Join): Joined }`, or as socket.io-client has them,
 * `{ joinRoom(join: Join, answer: (answer: Joined) => void): void }`.
 */
export class Client<L extends Events = Events, E extends Events = Events> {
  constructor(url?: string | URL, options?: Options);
  get state(): State;
  get connected(): boolean;
  /** While reconnecting: the time of the next attempt (as Date.now()), or null during an attempt. */
  get retryAt(): number | null;
  /** The kind of the transport in use, null when not connected. */
  get transport(): string | null;
  get id(): string | undefined;
  /** True if this connection continues the last one, so that the client missed no event. */
  get recovered(): boolean;
  on<K extends keyof ClientEvents | (keyof L & string)>(event: K, listener: Listener<L, K>): this;
  once<K extends keyof ClientEvents | (keyof L & string)>(event: K, listener: Listener<L, K>): this;
  off<K extends keyof ClientEvents | (keyof L & string)>(event: K, listener?: Listener<L, K>): this;
  /** Opens a closed client again. If the client waits for its next attempt, it makes that attempt now. */
  connect(): this;
  /** Closes the client without reconnecting. It first sends what the connection has queued. Requests that wait for an acknowledgement fail. */
  close(): this;
  /** Returns false if the client dropped the event: because it is closed, its buffer is full or the packet is too large. */
  emit<K extends keyof E & string>(event: K, ...args: Sent<E[K]> | [...Sent<E[K]>, (answer: Acknowledged<E[K]>, ...more: any[]) => void]): boolean;
  /** Sends the event only if that is possible now. */
  volatile<K extends keyof E & string>(event: K, ...args: Sent<E[K]>): boolean;
  /** Resolves with the acknowledgement's first argument. Rejects with a ParleyError on timeout, if the connection is lost, and if the server refuses the event. */
  request<K extends keyof E & string>(event: K, ...args: Sent<E[K]>): Promise<Answer<E[K]>>;
  /** Sets another timeout, in ms, for one request or emit. Infinity means none. */
  timeout(ms: number): Pick<Client<L, E>, 'request'> & {
    /** Calls back before any listener gets an event that the server sent after the answer. Code that awaits a request may run later. */
    emit<K extends keyof E & string>(event: K, ...args: [...Sent<E[K]>, (error: ParleyError | null, answer?: Answer<E[K]>) => void]): void;
  };
}

/** Makes a client and opens it. url is the server's origin; the default is the page's. */
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
