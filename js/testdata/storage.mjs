/** What a browser's sessionStorage does. */
export class MemoryStorage {
  #items = new Map();
  get length() { return this.#items.size; }
  key(n) { return this.keys()[n] ?? null; }
  keys() { return [...this.#items.keys()]; }
  getItem(key) { return this.#items.get(key) ?? null; }
  setItem(key, value) { this.#items.set(key, String(value)); }
  removeItem(key) { this.#items.delete(key); }
}
