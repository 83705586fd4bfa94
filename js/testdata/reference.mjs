// Starts the reference server, with helpers for the tests.
import { createServer } from 'node:http';
import { test as bare } from 'node:test';
import { Server } from 'socket.io';
import { WebSocket } from 'ws';
import { connect } from '../parley.js';

/** A test with a timeout. */
export const test = (name, run) => bare(name, { timeout: 300_000 }, run);

/** Starts a server on a free port (or the one given) of 127.0.0.1 and stops it when the test ends. */
export async function serve(t, options = {}, port = 0) {
  const http = createServer();
  const io = new Server(http, options);
  await new Promise((resolve) => http.listen(port, '127.0.0.1', resolve));
  const connections = new Set();
  http.on('connection', (connection) => connections.add(connection.on('close', () => connections.delete(connection))));
  const stop = () => new Promise((resolve) => {
    io.close(resolve);
    for (const connection of connections) connection.destroy(); // upgraded ones, too
  });
  t.after(stop);
  return { io, http, stop, port: http.address().port, url: `http://127.0.0.1:${http.address().port}` };
}

/** Makes a client and closes it when the test ends. By default it reconnects quickly. */
export function dial(t, url, options = {}) {
  const client = connect(url, { WebSocket, reconnection: { delay: 20, max: 100 }, timeouts: { open: 60_000, connect: 120_000, ack: 120_000 }, ...options });
  t.after(() => client.close());
  return client;
}

/** Resolves with the arguments of the next such event. */
export const next = (client, event) => new Promise((resolve) => client.once(event, (...args) => resolve(args)));

/** The three ways to be connected. */
export const ways = {
  websocket: { transports: ['websocket'] },
  polling: { transports: ['polling'] },
  upgrade: { transports: ['polling', 'websocket'], upgrade: true },
};
