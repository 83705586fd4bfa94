import { PollingTransport, type Packet, type Transport, type TransportClass, type TransportContext, type TransportEvents } from './parley.js';

/**
 * WebTransport, for Parley's servers and Engine.IO's. Options: those of the browser's WebTransport,
 * such as serverCertificateHashes, and WebTransport, another implementation.
 */
export class WebTransportTransport implements Transport {
  static readonly kind: string;
  constructor(context: TransportContext, events: TransportEvents);
  writable: boolean;
  open(): void;
  send(packets: Packet[]): void;
  close(polite: boolean): void;
}

/** Polling by scripts, in pages. For Parley's servers, and Engine.IO's that allow EIO3. */
export class JSONPTransport extends PollingTransport {}

export interface SocketIOOptions {
  /** How long it may take to open, in ms. Default 5000. */
  timeout?: number;
  /** Default: the global one. In Node.js before 22 there is none: give that of "ws". */
  WebSocket?: any;
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** What the transport knows. */
  [option: string]: any;
}

/** A transport of the official client's: what its option transportImplementations takes. */
export type SocketIOTransport = new (options: any) => any;

export function forSocketIO(transport: TransportClass, options?: SocketIOOptions): SocketIOTransport;

/** A list, in the order that they are tried in with tryAllTransports. What does not pass is remembered for ten minutes. */
export function allForSocketIO(list: [transport: TransportClass, options?: SocketIOOptions][]): SocketIOTransport[];

/** WebTransport, WebSocket, SSE, polling, JSONP. */
export const socketIOTransports: SocketIOTransport[];
