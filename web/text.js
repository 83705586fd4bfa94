// What of other people's texts the page shows. Any of them may be made to harm. It uses no DOM.

/** Characters that change the direction of the text around them. */
const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Runs of marks and joiners. A browser's work on a run grows with the square of its length. No honest
 * text has as many in a row: the longest stack of Tibetan has 8, the flag of a region 7.
 */
const RUN = /([\p{M}\p{Cf}\p{Emoji_Modifier}]{12})[\p{M}\p{Cf}\p{Emoji_Modifier}]+/gu;

/** Replaces what is too much of a run by a sign, U+FFFD. */
const cutRuns = (text) => text.replace(RUN, '$1\ufffd');

/** Finds a character that people see. */
const VISIBLE = /[^\p{Default_Ignorable_Code_Point}\p{Z}\p{C}\p{M}\u2800]/u;

/**
 * Returns a name, an id or a room in one line of at most `most` UTF-16 units, without characters that would
 * change the direction of the text around it. Returns '' if nothing would be seen.
 */
export function plain(name, most = 60) {
  const line = name.slice(0, 8 * most).replace(DIRECTIONS, '').replace(/[\p{Cc}\s]+/gu, ' ').trim();
  if (!VISIBLE.test(line)) return '';
  const text = cutRuns(line);
  return text.length > most ? `${text.slice(0, within(text, 0, most - 1))}…` : text;
}

/** Ends with a word that the page itself writes next to names or in their place. */
const OURS = /(?:^|[^\p{L}\p{N}])(?:you|operator|somebody)[^\p{L}\p{N}]*$/iu;

/** Returns the first of the names that can be seen. One that looks like a word of the page itself is put in quotes. */
export function label(...names) {
  const name = names.map((name) => (typeof name === 'string' ? plain(name) : '')).find(Boolean);
  if (!name) return 'Somebody';
  return OURS.test(name.normalize('NFKC').replace(/\p{Default_Ignorable_Code_Point}/gu, '')) ? `“${name}”` : name;
}

/** Returns the content of a message: {text, name} for messages of this page and for strings, {json, name} for anything else. */
export function content(message) {
  if (typeof message === 'string') return { text: message };
  const name = typeof message?.name === 'string' ? message.name : undefined;
  if (typeof message?.text === 'string') return { text: message.text, name };
  const escaped = (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return { json: (JSON.stringify(message) ?? '').replace(DIRECTIONS, escaped), name };
}

/** How much of a text is shown at first, and how much each "Show more" adds. */
const FIRST = { chars: 1000, lines: 25 }, NEXT = { chars: 4000, lines: 200 };

/** Yields the parts in which a text is shown: {text, left}, where left is the number of UTF-16 units after it. */
export function* parts(text) {
  text = cutRuns(text);
  let start = 0, size = FIRST;
  do {
    const end = endOfPart(text, start, size);
    yield { text: text.slice(start, end), left: text.length - end };
    start = end;
    size = NEXT;
  } while (start < text.length);
}

/** Returns where a part ends: after the last line, or else after a space, or else between two characters. */
function endOfPart(text, start, { chars, lines }) {
  const most = Math.min(start + chars, text.length);
  for (let end = start; ; lines--) {
    if (lines === 0) return end;
    const next = text.indexOf('\n', end);
    if (next === -1 || next >= most) break;
    end = next + 1;
  }
  if (most === text.length) return most;
  const space = text.slice(most - 200, most).search(/\s\S*$/);
  return space === -1 ? within(text, start, most) : most - 199 + space;
}

/**
 * Returns the last place up to end that does not separate a character from its marks. If there is none in
 * the 100 units before end, because somebody joins without end, it only keeps surrogate pairs whole.
 */
function within(text, start, end) {
  const low = (at) => /[\udc00-\udfff]/.test(text[at]);
  const joined = (at) => low(at) || text[at - 1] === '\u200d' || /^[\p{M}\p{Cf}\p{Emoji_Modifier}]/u.test(text.slice(at, at + 2));
  for (let at = end; at > Math.max(start, end - 100); at--) if (!joined(at)) return at;
  return low(end) ? end - 1 : end;
}

/** The maximum number of links in a part. */
const LINKS = 50;

/**
 * Splits a text at its links to web pages: [{text, href?, host?}]. Punctuation at the end of a link is not
 * part of it. `host` is where it leads, if that is written differently: an international name may look
 * like another. An address with user information is no link, because that looks like the host. If the
 * text goes on, a link at its end may be half of one, so it is none.
 */
export function links(text, goesOn = false) {
  const parts = [];
  let end = 0, left = LINKS;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"\ufffd\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gi)) {
    if (left === 0 || (goesOn && index + found.length === text.length)) break;
    const link = found.slice(0, linkLength(found));
    const [, written] = /^https?:\/\/([^/?#\\]*)/i.exec(link);
    let url;
    try { url = new URL(link); } catch { continue; }
    if (written.includes('@')) continue;
    if (index > end) parts.push({ text: text.slice(end, index) });
    parts.push({ text: link, href: url.href, ...(written.toLowerCase().replace(/:\d*$/, '') !== url.hostname && { host: url.host }) });
    end = index + link.length;
    left--;
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
