import { PollingTransport, type Packet, type Transport, type TransportClass, type TransportContext, type TransportEvents } from './parley.js';

/**
 * WebTransport, for servers of Parley and of Engine.IO. It takes the options of the browser's
 * WebTransport, such as serverCertificateHashes. The option WebTransport sets another implementation.
 */
export class WebTransportTransport implements Transport {
  static readonly kind: string;
  constructor(context: TransportContext, events: TransportEvents);
  writable: boolean;
  open(): void;
  send(packets: Packet[]): void;
  close(polite: boolean): void;
}

/** Polling by scripts in pages. It needs a Parley server, or an Engine.IO server that allows EIO3. */
export class JSONPTransport extends PollingTransport {}

export interface SocketIOOptions {
  /** The timeout to open, in ms. Default 5000. */
  timeout?: number;
  /** Default: the global one. Node.js before 22 has none: pass the one of "ws". */
  WebSocket?: any;
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** The transport's own options. */
  [option: string]: any;
}

/** A transport for the official client's option transportImplementations. */
export type SocketIOTransport = new (options: any) => any;

export function forSocketIO(transport: TransportClass, options?: SocketIOOptions): SocketIOTransport;

/** Makes a list for tryAllTransports. The client tries the transports in this order. The list remembers for ten minutes which transports fail. */
export function allForSocketIO(list: [transport: TransportClass, options?: SocketIOOptions][]): SocketIOTransport[];

/** WebTransport, WebSocket, SSE, polling, JSONP. */
export const socketIOTransports: SocketIOTransport[];
