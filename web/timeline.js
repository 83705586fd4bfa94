// The messages of one room, as one browser tab knows them. No DOM, no network.

/**
 * Stored messages in the order of their seq, each once, then the drafts: what was written here and
 * is not stored yet. A draft gives way to the stored message that carries its clientId.
 */
export class Timeline {
  messages = [];
  drafts = []; // {clientId, message, error?}
  epoch;
  /** Are there messages before the first one? */
  hasOlder = false;

  get oldest() {
    return this.messages[0]?.seq;
  }

  /**
   * Adds a stored message. Returns false when it is here already, or a live one of a time that is
   * not loaded: a draft may have been stored long ago. Scrolling up will bring it with what is
   * around it.
   */
  add(message, { live = false } = {}) {
    this.drafts = this.drafts.filter(({ clientId }) => clientId !== message.clientId);
    if (live && this.hasOlder && message.seq < this.oldest) return false;
    const place = this.indexOf(message.seq);
    if (this.messages[place]?.seq === message.seq) return false;
    this.messages.splice(place, 0, message);
    return true;
  }

  /** The place of the first message whose seq is not below the one given. */
  indexOf(seq) {
    let low = 0, high = this.messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Forgets what was stored: the server's history is another one. Drafts remain: they are sent again. */
  reset(epoch) {
    this.messages = [];
    this.epoch = epoch;
    this.hasOlder = false;
  }
}

/**
 * An id for a draft: a UUIDv7, whose order in time the server's index likes.
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
 * Drafts as they were kept by the tab, in JSON. Other pages of this origin may write there, too: what
 * is no draft is left out.
 */
export function drafts(json) {
  let found;
  try { found = JSON.parse(json); } catch { /* none, then */ }
  const isDraft = (draft) => typeof draft?.clientId === 'string' && draft.clientId !== '' && draft.message !== undefined;
  return (Array.isArray(found) ? found : []).filter(isDraft).map(({ clientId, message, at, error }) => ({
    clientId, message, at: Number.isFinite(at) ? at : Date.now(), ...(typeof error === 'string' && { error }),
  }));
}

/** Whose a message or a membership is; an operator is nobody else, whatever user's conversation that is in. */
export const personKey = ({ id, userId, operatorId }) => (operatorId ? `operator ${operatorId}` : userId ? `user ${userId}` : String(id));

/** A name without what changes the direction of the text around it. */
export const plain = (name) => name.replace(/[\u202a-\u202e\u2066-\u2069]/g, '');

/** What a message says: {text, name} for the page's own kind and for strings, {json} for anything else. */
export function content(message) {
  if (typeof message === 'string') return { text: message };
  if (typeof message?.text === 'string') return { text: message.text, name: typeof message.name === 'string' ? message.name : undefined };
  return { json: JSON.stringify(message), name: typeof message?.name === 'string' ? message.name : undefined };
}

/** Splits a text at its links to web pages: [{text, href?}]. What ends a sentence is not part of a link. */
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

/** The length without punctuation, and without brackets that were opened before the link. */
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
