import { ParleyError } from '../parley.js';

/** A client without a server. The test reads its requests from `asked`, as they would arrive, and answers them. */
export class FakeClient {
  connected = false;
  asked = [];
  emitted = [];
  #listeners = new Map();
  on(event, listener) { this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]); }
  off(event, listener) { this.#listeners.set(event, this.#listeners.get(event).filter((other) => other !== listener)); }
  fire(event, ...args) { for (const listener of this.#listeners.get(event) ?? []) listener(...args); }
  emit(...args) { this.emitted.push(args); }
  timeout() {
    return { emit: (event, payload, back) => this.asked.push({ event, payload: JSON.parse(JSON.stringify(payload)), answer: (answer) => back(null, answer), refuse: (error) => back(error) }) };
  }
  connect() { this.connected = true; this.fire('connect'); }
  disconnect() {
    this.connected = false;
    for (const { refuse } of this.asked.splice(0)) refuse(new ParleyError('disconnected', ''));
    this.fire('disconnect', 'transport close');
  }
  change(seq, rev, roomId = 'r') { this.fire('messageChanged', { roomId, seq, rev }); }
  say(seq, roomId = 'r') { this.fire('newMessage', { roomId, seq }); }
}
