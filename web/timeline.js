// The messages of one room that this browser tab has. It uses no DOM and no network.

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

  get oldest() {
    return this.messages[0]?.seq;
  }

  /**
   * Adds a stored message. Returns false if it is already here. Returns false too if it is live but older
   * than the loaded messages, which happens if the server stored a draft long ago. Scrolling up loads it
   * together with its neighbours.
   */
  add(message, { live = false } = {}) {
    this.drafts = this.drafts.filter(({ clientId }) => clientId !== message.clientId);
    if (live && this.hasOlder && message.seq < this.oldest) return false;
    const place = this.indexOf(message.seq);
    if (this.messages[place]?.seq === message.seq) return false;
    this.messages.splice(place, 0, message);
    return true;
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
    this.hasOlder = false;
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

/**
 * Parses the drafts that the tab has kept as JSON. Other pages of this origin may write there too, so
 * this leaves out everything that is not a draft.
 */
export function drafts(json) {
  let found;
  try { found = JSON.parse(json); } catch { /* no drafts */ }
  const isDraft = (draft) => typeof draft?.clientId === 'string' && draft.clientId !== '' && draft.message !== undefined;
  return (Array.isArray(found) ? found : []).filter(isDraft).map(({ clientId, message, at, error }) => ({
    clientId, message, at: Number.isFinite(at) ? at : Date.now(), ...(typeof error === 'string' && { error }),
  }));
}

/** Identifies the person of a message or member. An operator is one person in the conversations of all users. */
export const personKey = ({ id, userId, operatorId }) => (operatorId ? `operator ${operatorId}` : userId ? `user ${userId}` : String(id));

/** Removes characters from a name that would change the direction of the text around it. */
export const plain = (name) => name.replace(/[\u202a-\u202e\u2066-\u2069]/g, '');

/** Returns the content of a message: {text, name} for messages of this page and for strings, {json, name} for anything else. */
export function content(message) {
  if (typeof message === 'string') return { text: message };
  if (typeof message?.text === 'string') return { text: message.text, name: typeof message.name === 'string' ? message.name : undefined };
  return { json: JSON.stringify(message), name: typeof message?.name === 'string' ? message.name : undefined };
}

/** Splits a text at its links to web pages: [{text, href?}]. Punctuation at the end of a link is not part of it. */
export function links(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"\u202a-\u202e\u2066-\u2069]+/gi)) {
    const link = found.slice(0, linkLength(found));
    let href;
    try { ({ href } = new URL(link)); } catch { continue; }
    if (index > end) parts.push({ text: text.slice(end, index) });
    parts.push({ text: link, href });
    end = index + link.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** Returns the length of the link without punctuation at its end, and without closing brackets that were opened before it. */
function linkLength(found) {
  let opened = 0;
  for (const char of found) opened += char === '(' ? 1 : char === ')' ? -1 : 0;
  let length = found.length;
  for (; length > 0; length--) {
    const last = found[length - 1];
    if (last === ')' && opened < 0) opened++;
    else if (!'.,:;!?\'*'.includes(last)) break;
  }
  return length;
}
