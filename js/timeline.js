// The messages of one room that a page has. It uses no DOM and no network. The types are in timeline.d.ts.

/** How many messages a timeline keeps, and how many UTF-16 units of them as JSON. */
const KEPT = 500, KEPT_UNITS = 4_000_000;

/** How many changes of messages that are not here a timeline remembers. */
const CHANGES = 500;

/** The number of a message's last change. Of two versions of a message, the newer one has the larger number. */
export const numberOf = ({ seq, rev = 0 }) => Math.max(seq, rev);

const unitsOf = (message) => JSON.stringify(message).length;

/**
 * Stored messages in the order of their seq, each once, and then the drafts. A draft is a message that
 * the user wrote and the server has not stored yet. The stored message with its clientId replaces it.
 */
export class Timeline {
  messages = [];
  drafts = []; // {clientId, message, error?}
  epoch;
  /** True if the room has messages before the first one here. */
  hasOlder = false;
  /** True if the room has messages after the last one here. Then live messages are not added: loading that part brings them. */
  hasNewer = false;
  #units = 0;
  #changes = new Map(); // by seq: changed messages that are not here; a page that was read before the change must not bring back what it was

  get oldest() {
    return this.messages[0]?.seq;
  }

  get newest() {
    return this.messages.at(-1)?.seq;
  }

  /**
   * Adds a stored message. Returns false if it is already here; then the newer version stays. Returns false too if it is live but not next
   * to the loaded messages. It is older than those if the server stored a draft long ago. Scrolling there
   * loads it together with its neighbours.
   */
  add(message, { live = false } = {}) {
    this.drafts = this.drafts.filter(({ clientId }) => clientId !== message.clientId);
    if (live && ((this.hasOlder && message.seq < this.oldest) || (this.hasNewer && message.seq > this.newest))) return false;
    const place = this.indexOf(message.seq);
    if (this.messages[place]?.seq === message.seq) {
      this.#replace(place, message);
      return false;
    }
    const changed = this.#changes.get(message.seq);
    this.#changes.delete(message.seq);
    this.messages.splice(place, 0, message);
    this.#units += unitsOf(message);
    if (changed) this.#replace(place, changed);
    return true;
  }

  /** Takes a changed message. If it is not here, the change counts when it comes. */
  change(message) {
    const place = this.indexOf(message.seq);
    if (this.messages[place]?.seq === message.seq) return this.#replace(place, message);
    this.#changes.delete(message.seq);
    this.#changes.set(message.seq, message);
    if (this.#changes.size > CHANGES) this.#changes.delete(this.#changes.keys().next().value);
  }

  #replace(place, message) {
    const old = this.messages[place];
    if (numberOf(message) <= numberOf(old)) return;
    this.#units += unitsOf(message) - unitsOf(old);
    this.messages[place] = message;
  }

  /** Drops messages if there are too many: those that are farthest from the ones with the numbers first to last, which stay. */
  trim(first, last) {
    while (this.messages.length > KEPT || this.#units > KEPT_UNITS) {
      const before = this.indexOf(first), after = this.messages.length - this.indexOf(last + 1);
      if (before === 0 && after === 0) return;
      if (before >= after) this.hasOlder = true;
      else this.hasNewer = true;
      this.#units -= unitsOf(before >= after ? this.messages.shift() : this.messages.pop());
    }
  }

  /** Returns the index of the first message whose seq is at least the given one. */
  indexOf(seq) {
    let low = 0, high = this.messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops the stored messages, because the server has another history. It keeps the drafts, which the page sends again. */
  reset(epoch) {
    this.messages = [];
    this.epoch = epoch;
    this.hasOlder = this.hasNewer = false;
    this.#units = 0;
    this.#changes.clear();
  }
}

/**
 * Makes an id for a draft. It is a UUIDv7, because ids in order of time suit the server's index.
 * (crypto.randomUUID is missing on plain http.)
 */
export function draftId(now = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(now / 2 ** (8 * (5 - i))) % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** The maximum number of drafts that a tab keeps of a room. */
const DRAFTS = 1000;

/**
 * Parses the drafts that the tab has kept as JSON. Other pages of this origin may write there too, so
 * this leaves out everything that is not a draft of this page.
 */
export function drafts(json) {
  let found;
  try { found = JSON.parse(json); } catch { /* no drafts */ }
  const isText = (value) => typeof value === 'string';
  const isDraft = (draft) => isText(draft?.clientId) && /^[\w.:-]{1,128}$/.test(draft.clientId) && isText(draft.message?.text);
  return (Array.isArray(found) ? found : []).filter(isDraft).slice(0, DRAFTS).map(({ clientId, message: { text, name }, at, error }) => ({
    clientId, message: { text, ...(isText(name) && { name }) }, at: Number.isFinite(at) ? at : Date.now(), ...(isText(error) && { error }),
  }));
}

/** Identifies the person of a message or member. An operator is one person in the conversations of all users. */
export const personKey = ({ id, userId, operatorId }) => (operatorId ? `operator ${operatorId}` : userId ? `user ${userId}` : String(id));
