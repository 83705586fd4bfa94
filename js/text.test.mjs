import assert from 'node:assert/strict';
import { test } from 'node:test';
import { content, label, links, parts, plain } from '../web/text.js';

const DIRECTIONS = '\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069';
const shown = (text) => [...parts(text)].map(({ text }) => text);

// Words with many marks or joiners: Hebrew with points and accents, Vietnamese decomposed, Devanagari, Tibetan, Thai, Arabic,
// emoji of a family, with a skin colour, of a region, a keycap; Persian with a joiner.
const honest = ['\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u0596\u05d9\u05ea', 'Vie\u0323\u0302t', '\u0930\u094d\u0924\u094d\u0938\u094d\u0928\u094d\u092f\u093e\u0902',
  '\u0f67\u0f90\u0fb5\u0fa8\u0fb3\u0fba\u0fbc\u0fbb\u0f82', '\u0e17\u0e35\u0e48', '\u0628\u0650\u0633\u0652\u0645\u0650 \u0627\u0644\u0644\u064e\u0651\u0647\u0650',
  '\u{1f469}\u{1f3fd}\u200d\u2764\ufe0f\u200d\u{1f48b}\u200d\u{1f468}\u{1f3fb}', '\u{1f469}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466}',
  '\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}', '1\ufe0f\u20e3', '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645'];

test('honest text is shown as it is', () => {
  for (const text of [...honest, ...honest.map((word) => `${word} `.repeat(10)), '', 'x', 'a\nb\n', ' x ']) {
    assert.deepEqual(shown(text), [text]);
  }
  for (const name of honest) {
    assert.equal(plain(name), name);
    assert.equal(label(name), name);
  }
});

test('runs of marks, joiners and characters that are not seen are cut', () => {
  for (const mark of ['\u0301', '\u0489', '\u200b', '\u200d', '\ufe0f', '\u034f', '\u{e0067}', '\u{1f3fb}', '\u202e', '\u0600', '\u0301\u200d']) {
    const [text] = shown(`a${mark.repeat(32_000)}b`);
    assert.match(text, /^a.{6,24}\ufffdb$/su, mark);
    assert.equal(shown(`a${mark.repeat(6)}b`)[0], `a${mark.repeat(6)}b`);
  }
});

test('the parts of a text are bounded, and together they are the text', () => {
  const texts = ['x', 'word ', '\n', 'a\r\n', '\u05d0a', '\u{1f600}', '\u{1f469}\u200d', 'e\u0323\u0302', '\u0f67\u0f90\u0fb5\u0fa8\u0fb3\u0fba\u0fbc\u0fbb\u0f82', 'https://a.example/ ', '\u202ea', '\ufdfd'];
  for (const text of texts.map((text) => text.repeat(65_536 / text.length))) {
    const all = [...parts(text)];
    assert.equal(all.map((part) => part.text).join(''), text);
    for (const [i, part] of all.entries()) {
      const [chars, lines] = i === 0 ? [1000, 25] : [4000, 200];
      assert.ok(part.text.length <= chars && part.text.split('\n').length <= lines + 1, `${part.text.length} characters`);
      assert.ok(part.text.length >= chars - 200 || part.text.endsWith('\n') || part.left === 0, `${part.text.length} characters`);
      assert.ok(part.text.isWellFormed() && !/^\p{M}/u.test(part.text), 'characters stay whole');
      if (text[2] !== '\u200d') assert.doesNotMatch(part.text, /^\u200d|\u200d$/);
    }
    assert.equal(all.at(-1).left, 0);
  }
});

test('names in one line, without what changes the text around them', () => {
  assert.equal(plain('\u202Ea\u2066b\u2069\u200f\u05d0'), 'ab\u05d0');
  for (const mark of DIRECTIONS) assert.equal(plain(`a${mark}b`), 'ab');
  assert.equal(plain(' a\n\t b\u0000c '), 'a b c');
  assert.equal(plain('x'.repeat(1_000_000)), `${'x'.repeat(59)}…`);
  assert.equal(plain(`a${'\u0301'.repeat(1_000_000)}`), `a${'\u0301'.repeat(12)}\ufffd`);
  assert.equal(plain('\u{1f600}'.repeat(40)), `${'\u{1f600}'.repeat(29)}…`);
  for (const name of ['', ' ', '\u200b', '\u3164', '\u2800\u00a0', '\u00ad\u034f', '\u0301', '\ue000', DIRECTIONS]) assert.equal(plain(name), '', JSON.stringify(name));
});

test('a name cannot be taken for a word of the page', () => {
  assert.equal(label(undefined, '\u3164', 'ada'), 'ada');
  assert.equal(label('', {}, undefined), 'Somebody');
  for (const name of ['You', 'you', 'Ada (you)', 'Operator', 'Anna operator', '\uff2fperator!', 'oper\u200bator', 'Somebody']) assert.equal(label(name), `“${name}”`);
  for (const name of ['Young', 'Operators', 'Youssef', 'Bayou', 'You and me']) assert.equal(label(name), name);
});

test('links in a text', () => {
  const found = (text) => links(text).map(({ text, href }) => (href ? [text] : text));
  assert.deepEqual(found('no link'), ['no link']);
  assert.deepEqual(found(''), []);
  assert.deepEqual(found('see https://a.example/b?c=d&e#f, (http://b.example:8080/x_(y)) and "https://c.example".'),
    ['see ', ['https://a.example/b?c=d&e#f'], ', (', ['http://b.example:8080/x_(y)'], ') and "', ['https://c.example'], '".']);
  assert.deepEqual(found('https://a.example/\u202Emoc.knab'), [['https://a.example/'], '\u202Emoc.knab']);
  for (const text of ['javascript:alert(1)', 'http://', 'https://.', 'xhttps://a.example', '//a.example', 'data:text/html,x', 'https://[']) assert.deepEqual(found(text), [text]);
  assert.deepEqual(links('HTTPS://A.example/<b>'), [{ text: 'HTTPS://A.example/', href: 'https://a.example/' }, { text: '<b>' }]);
});

test('links say where they lead', () => {
  const none = ['https://bank.example@evil.example/', 'https://bank.example:x@evil.example/', 'http://@evil.example/', 'https://a:@evil.example'];
  for (const text of none) assert.deepEqual(links(`see ${text} now`).map(({ href }) => href), [undefined], text);
  const hosts = {
    'https://a.example/@user': undefined, 'https://a.example:8443/x@y': undefined, 'https://a.example:443/': undefined, 'HTTPS://A.EXAMPLE': undefined,
    'https://\u0430pple.example/': 'xn--pple-43d.example', 'https://m\u00fcnchen.example:8080/': 'xn--mnchen-3ya.example:8080',
    'https://ba\u00adnk.example/': 'bank.example', 'https://\uff45vil.example\u3002bank.example/': 'evil.example.bank.example',
    'http://2130706433/': '127.0.0.1', 'https:///evil.example/': 'evil.example', 'https://%65vil.example/': 'evil.example', 'https://evil.example\\@bank.example': undefined,
  };
  for (const [text, host] of Object.entries(hosts)) assert.equal(links(text)[0].host, host, text);
  for (const mark of DIRECTIONS) assert.deepEqual(links(`https://a.example/${mark}x`).map(({ text }) => text), ['https://a.example/', `${mark}x`]);
});

test('the links of a part are few, and none is half a link', () => {
  const many = links('http://a '.repeat(300));
  assert.equal(many.filter(({ href }) => href).length, 50);
  assert.equal(many.map(({ text }) => text).join(''), 'http://a '.repeat(300));
  assert.deepEqual(links('see https://a.example/ab', true), [{ text: 'see https://a.example/ab' }]);
  assert.equal(links('see https://a.example/ab ', true)[1].href, 'https://a.example/ab');
});

// Quadratic time would take hours.
test('links in long texts are found in linear time', { timeout: 300_000 }, () => {
  for (const char of '(!)') links(`https://a.example/${char.repeat(3_000_000)}/${'https://x.'.repeat(300_000)}`);
});

test('the content of any JSON', () => {
  assert.deepEqual(content('x'), { text: 'x' });
  assert.deepEqual(content({ text: 'x', name: 'n', more: 1 }), { text: 'x', name: 'n' });
  assert.deepEqual(content({ text: 'x', name: {} }), { text: 'x', name: undefined });
  assert.deepEqual(content({ text: 1, name: 'n' }), { json: '{"text":1,"name":"n"}', name: 'n' });
  for (const value of [null, 0, false, []]) assert.deepEqual(content(value), { json: JSON.stringify(value), name: undefined });
  assert.deepEqual(content({ a: '\u202Eb\u200f' }), { json: '{"a":"\\u202eb\\u200f"}', name: undefined });
});
