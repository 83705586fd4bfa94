/**
 * The reference has two names for some reasons of disconnections, depending on whether something
 * waits to be sent. This maps one name to the other.
 */
export const reasons = { 'forced server close': 'forced close' };

/**
 * Deliberate differences from the reference, by file and scenario. Each has its reason, and for each
 * label the records as [of the reference, of Parley]. A difference that is not listed fails its
 * scenario. So does a listed difference that no longer occurs, or that has changed.
 */
export const differences = {
  connect: [
    {
      scenario: 'middleware refuses',
      reason: 'Nil as the Data of a ConnectError means no data: Go has no undefined.',
      seen: {
        a3: [[['connect_error', 'with null', null], { connected: false, active: false }], [['connect_error', 'with null', undefined], { connected: false, active: false }]],
      },
    },
    {
      scenario: 'what middleware emits comes after the CONNECT',
      reason: 'Events that middleware sends follow the CONNECT. The reference sends them before it, where only clients that buffer them receive them.',
      seen: {
        websocket: [[['early', 1], ['connect'], ['greeting', 3], ['disconnect', 'io client disconnect']], [['connect'], ['early', 1], ['greeting', 3], ['disconnect', 'io client disconnect']]],
        polling: [[['early', 1], ['connect'], ['greeting', 3], ['disconnect', 'io client disconnect']], [['connect'], ['early', 1], ['greeting', 3], ['disconnect', 'io client disconnect']]],
        'polling,websocket': [[['early', 1], ['connect'], ['greeting', 3], ['disconnect', 'io client disconnect']], [['connect'], ['early', 1], ['greeting', 3], ['disconnect', 'io client disconnect']]],
      },
    },
    {
      scenario: 'pages of other origins, if none is allowed',
      reason: 'The server refuses an origin that is not allowed. The reference only omits the headers, which does not stop WebSockets.',
      seen: {
        websocket: [[['connect'], ['disconnect', 'io client disconnect']], [['connect_error', 'websocket error', undefined]]],
        'server websocket': [[['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]], undefined],
        'server polling': [[['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]], undefined],
        polling: [[['connect'], ['disconnect', 'io client disconnect']], [['connect_error', 'xhr poll error', undefined]]],
        answer: [[{ status: 200, allowed: undefined }], [{ status: 403, allowed: undefined }]],
      },
    },
    {
      scenario: 'options of the client',
      reason: 'The server also serves the path without its slash, so clients with addTrailingSlash: false need no server option.',
      seen: {
        'no trailing slash': [[['connect_error', 'websocket error', undefined]], [['connect'], [{ binary: '0102' }, 'é'], ['disconnect', 'io client disconnect']]],
        'no trailing slash, polling': [[['connect_error', 'xhr poll error', undefined]], [['connect'], [{ binary: '0102' }, 'é'], ['disconnect', 'io client disconnect']]],
        'server no trailing slash': [undefined, [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
        'server no trailing slash, polling': [undefined, [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
      },
    },
    {
      scenario: 'a path of its own',
      reason: 'The server also serves the path without its slash, so clients with addTrailingSlash: false need no server option.',
      seen: {
        '/ws websocket false': [[['connect_error', 'websocket error', undefined]], [['connect'], ['disconnect', 'io client disconnect']]],
        '/ws polling false': [[['connect_error', 'xhr poll error', undefined]], [['connect'], ['disconnect', 'io client disconnect']]],
        '/ws/ websocket false': [[['connect_error', 'websocket error', undefined]], [['connect'], ['disconnect', 'io client disconnect']]],
        '/ws/ polling false': [[['connect_error', 'xhr poll error', undefined]], [['connect'], ['disconnect', 'io client disconnect']]],
        '/ws': [[404], [200]],
        'server /ws websocket false': [undefined, [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
        'server /ws polling false': [undefined, [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
        'server /ws/ websocket false': [undefined, [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
        'server /ws/ polling false': [undefined, [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
      },
    },
    {
      scenario: 'middleware disconnects, closes, or refuses after joining',
      reason: 'Disconnect(true) closes the connection in middleware too. The reference ignores it there.',
      seen: {
        'disconnect true': [[['connect'], ['disconnect', 'io client disconnect']], [['disconnect', 'transport close']]],
        'server disconnect true': [[['connection', '/', false], ['rooms', []], ['connected', true], ['disconnect', '/', 'client namespace disconnect', []]], undefined],
      },
    },
  ],
  namespaces: [
    {
      scenario: 'packets for namespaces that were never joined',
      reason: 'Leaving a namespace that the client has not joined is ignored, since it changes nothing.',
      seen: {
        'server disconnect': [[['connection', '/', false], ['disconnect', '/', 'forced close', []]], [['connection', '/', false], ['disconnect', '/', 'transport close', []]]],
        disconnect: [['40{"sid":"…"}', '1', ['ended', 200]], ['40{"sid":"…"}', '4377["alive"]']],
      },
    },
    {
      scenario: 'packets after the client has left',
      reason: 'A client may leave and rejoin a namespace in one payload. The reference handles the DISCONNECT after the CONNECT and closes the connection.',
      seen: {
        'server connect again': [[['connection', '/', false], ['disconnect', '/', 'forced close', []]], [['connection', '/', false], ['disconnect', '/', 'transport close', []]]],
        'connect again': [['40{"sid":"…"}', '1', ['ended', 200]], ['40{"sid":"…"}', '4377["alive"]']],
        'server connect again /admin': [[['connection', '/admin', false], ['disconnect', '/admin', 'forced close', []]], [['connection', '/admin', false], ['disconnect', '/admin', 'client namespace disconnect', []]]],
        'connect again /admin': [['40/admin,{"sid":"…"}'], ['40/admin,{"sid":"…"}', '40/admin,{"sid":"…"}']],
        'server again': [undefined, [['connection', '/admin', false], ['disconnect', '/admin', 'transport close', []]]],
      },
    },
    {
      scenario: 'packets after the server has disconnected the client',
      reason: 'Packets that crossed with the DISCONNECT are ignored. The reference closes the connection, and with it all other namespaces.',
      seen: {
        'server by hand': [[['connection', '/', false], ['disconnect', '/', 'forced close', []]], [['connection', '/', false], ['disconnect', '/', 'transport close', []]]],
        'by hand': [['40{"sid":"…"}', '431["still"]', '1', ['ended', 200]], ['40{"sid":"…"}', '431["still"]', '432["and still"]']],
      },
    },
    {
      scenario: 'a client leaves and joins again while middleware is at work',
      reason: 'The second CONNECT replaces the first. The reference makes two sockets for one client.',
      seen: {
        'server admin': [[['says', 'begun'], ['says', 'begun'], ['connection', '/admin', false], ['connection', '/admin', false], ['disconnect', '/admin', 'client namespace disconnect', []], ['disconnect', '/admin', 'transport close', []]], [['says', 'begun'], ['says', 'begun'], ['connection', '/admin', false], ['disconnect', '/admin', 'client namespace disconnect', []]]],
        admin: [[['connect'], ['connect'], ['disconnect', 'io client disconnect']], [['connect'], ['disconnect', 'io client disconnect']]],
      },
    },
    {
      scenario: 'DISCONNECT by hand while middleware is at work',
      reason: 'A client may cancel joining. The reference closes the connection, and with it all other namespaces.',
      seen: {
        'server by hand': [[['connection', '/', false], ['disconnect', '/', 'forced close', []]], [['connection', '/', false], ['disconnect', '/', 'transport close', []]]],
        'by hand': [['40{"sid":"…"}', '1', ['ended', 200]], ['40{"sid":"…"}', '431["still"]', '432["and still"]']],
      },
    },
    {
      scenario: 'many on one connection',
      reason: 'A connection may join at most ten namespaces (Options.MaxNamespaces).',
      seen: {
        '10': [[['connect'], [10], ['disconnect', 'io client disconnect']], [['connect_error', 'Too many namespaces', { code: 'too_many_namespaces', message: 'Too many namespaces' }]]],
        '11': [[['connect'], [11], ['disconnect', 'io client disconnect']], [['connect_error', 'Too many namespaces', { code: 'too_many_namespaces', message: 'Too many namespaces' }]]],
        'server 10': [[['connection', '/dyn-10', false], ['disconnect', '/dyn-10', 'client namespace disconnect', []]], undefined],
        'server 11': [[['connection', '/dyn-11', false], ['disconnect', '/dyn-11', 'client namespace disconnect', []]], undefined],
      },
    },
  ],
  disconnect: [
    {
      scenario: 'disconnecting handlers go on',
      reason: 'The handlers of a socket run one at a time: OnDisconnect comes after the handler that disconnects.',
      seen: {
        'server a': [[['connection', '/', false], ['connected', true], ['disconnect', '/', 'server namespace disconnect', []], ['connected', false]], [['connection', '/', false], ['connected', true], ['connected', false], ['disconnect', '/', 'server namespace disconnect', []]]],
      },
    },
    {
      scenario: 'events in front of a DISCONNECT in one payload',
      reason: 'The server handles what a client sends before it leaves. The reference drops it if both arrive in one read.',
      seen: {
        'server a': [[['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]], [['connection', '/', false], ['note', 1], ['disconnect', '/', 'client namespace disconnect', []]]],
        'server b': [[['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]], [['connection', '/', false], ['note', 1], ['disconnect', '/', 'client namespace disconnect', []]]],
      },
    },
    {
      scenario: 'events in front of a CLOSE in one payload',
      reason: 'The server handles what a client sends before it closes. The reference drops it if both arrive in one read.',
      seen: {
        'server a': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['note', 1], ['note', 2], ['disconnect', '/', 'transport close', []]]],
      },
    },
    {
      scenario: 'events in front of a CLOSE in one payload',
      reason: 'For a while after the end of a session, the server answers a poll that was sent at the same time.',
      seen: {
        poll: [[{ status: 400, body: '{"code":1,"message":"Session ID unknown"}' }], [{ status: 200, body: '6' }]],
      },
    },
    {
      scenario: 'WebSockets that end',
      reason: 'The answer to a Close frame repeats its code, as RFC 6455, section 5.5.1, says, but not its reason.',
      seen: {
        'close 1001': [['open', '40{"sid":"<close 1001>"}', ['closed', 1001, 'going']], ['open', '40{"sid":"<close 1001>"}', ['closed', 1001, '']]],
        'close 4000': [['open', '40{"sid":"<close 4000>"}', ['closed', 4000, 'private']], ['open', '40{"sid":"<close 4000>"}', ['closed', 4000, '']]],
      },
    },
    {
      scenario: 'packets that nobody sends',
      reason: "Nothing may stand between a packet's header and its data, and ids must be below 2^53. No client sends anything else.",
      seen: {
        '<42 ["note"]>': [['open', '40{"sid":"<<42 ["note"]>>"}', '4377["alive"]'], ['open', '40{"sid":"<<42 ["note"]>>"}', ['closed', 1005, '']]],
        'server <42 ["note"]>': [[['connection', '/', false], ['note'], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
        '<4299999999999999999999["note"]>': [['open', '40{"sid":"<<4299999999999999999999["note"]>>"}', '4377["alive"]'], ['open', '40{"sid":"<<4299999999999999999999["note"]>>"}', ['closed', 1005, '']]],
        'server <4299999999999999999999["note"]>': [[['connection', '/', false], ['note'], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
      },
    },
    {
      scenario: 'packets that nobody sends',
      reason: 'A CLOSE packet closes a WebSocket too. The reference ignores it.',
      seen: {
        '<1>': [['open', '40{"sid":"<<1>>"}', '4377["alive"]'], ['open', '40{"sid":"<<1>>"}', ['closed', 1005, '']]],
      },
    },
    {
      scenario: 'binary messages that nobody sends',
      reason: 'Each attachment must have exactly one placeholder with its number. Otherwise clients could use placeholders to read or multiply what was sent.',
      seen: {
        'placeholder twice': [['open', '40{"sid":"<placeholder twice>"}', '4377["alive"]'], ['open', '40{"sid":"<placeholder twice>"}', ['closed', 1005, '']]],
        'server placeholder twice': [[['connection', '/', false], ['note', { type: 'Buffer', data: [1] }, { type: 'Buffer', data: [1] }], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
        'none is used': [['open', '40{"sid":"<none is used>"}', '4377["alive"]'], ['open', '40{"sid":"<none is used>"}', ['closed', 1005, '']]],
        'server none is used': [[['connection', '/', false], ['note', 1], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
        'a fraction': [['open', '40{"sid":"<a fraction>"}', '4377["alive"]'], ['open', '40{"sid":"<a fraction>"}', ['closed', 1005, '']]],
        'server a fraction': [[['connection', '/', false], ['note', null], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
        false: [['open', '40{"sid":"<false>"}', '4377["alive"]'], ['open', '40{"sid":"<false>"}', ['closed', 1005, '']]],
        'server false': [[['connection', '/', false], ['note', { _placeholder: false, num: 0 }], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
      },
    },
  ],
  rooms: [
    {
      scenario: 'an empty list of rooms',
      reason: 'To() without rooms selects nobody. A list that happens to be empty must not reach everybody.',
      seen: {
        a: [[['connect'], ['to nothing'], ['except nothing'], ['disconnect', 'io client disconnect']], [['connect'], ['except nothing'], ['disconnect', 'io client disconnect']]],
        b: [[['connect'], ['to nothing'], ['except nothing'], ['of others to nothing'], ['disconnect', 'io client disconnect']], [['connect'], ['except nothing'], ['disconnect', 'io client disconnect']]],
      },
    },
    {
      scenario: 'an empty list of rooms is disconnected',
      reason: 'To() without rooms selects nobody. A list that happens to be empty must not disconnect everybody.',
      seen: {
        a: [[['connect'], ['disconnect', 'io server disconnect']], [['connect'], ['disconnect', 'io client disconnect']]],
        'server a': [[['connection', '/', false], ['disconnect', '/', 'server namespace disconnect', []], ['says', 'done']], [['connection', '/', false], ['says', 'done'], ['disconnect', '/', 'client namespace disconnect', []]]],
        b: [[['connect'], ['disconnect', 'io server disconnect']], [['connect'], ['disconnect', 'io client disconnect']]],
        'server b': [[['connection', '/', false], ['disconnect', '/', 'server namespace disconnect', []]], [['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]]],
      },
    },
  ],
  acks: [
    {
      scenario: 'a client that is gone before it answers',
      reason: 'EmitWithAck returns when the client is gone. The reference waits for the timeout, or forever.',
      seen: {
        'server a 500 asks': [[['answer 500', 'timed out']], [['answer 500', 'disconnected']]],
        'server a 0 asks': [undefined, [['answer 0', 'disconnected']]],
      },
    },
    {
      scenario: 'a room is asked and one of it leaves',
      reason: 'A request to several clients does not wait for those that are gone.',
      seen: {
        'server w asks': [[['answers', 'timed out', ['a']]], [['answers', null, ['a']]]],
      },
    },
    {
      scenario: 'answers by hand',
      reason: 'EmitWithAck returns when the client is gone. The reference waits for the timeout, or forever.',
      seen: {
        'server an object asks': [[['answer', 'timed out']], [['answer', 'disconnected']]],
        'server in another namespace asks': [[['answer', 'timed out']], [['answer', 'disconnected']]],
      },
    },
  ],
  values: [
    {
      scenario: 'halves of surrogate pairs',
      reason: "Go's strings are UTF-8, which has no lone surrogates. Handlers get U+FFFD instead.",
      seen: {
        'websocket "a\\ud83d"': [[['a\ud83d', 'and text', 'a\ud83d'], ['a\ud83d']], [['a\ufffd', 'and text', 'a\ufffd'], ['a\ufffd']]],
        'websocket "\\udc00b"': [[['\udc00b', 'and text', '\udc00b'], ['\udc00b']], [['\ufffdb', 'and text', '\ufffdb'], ['\ufffdb']]],
        'websocket "x\\ud83dy\\ude00"': [[['x\ud83dy\ude00', 'and text', 'x\ud83dy\ude00'], ['x\ud83dy\ude00']], [['x\ufffdy\ufffd', 'and text', 'x\ufffdy\ufffd'], ['x\ufffdy\ufffd']]],
        'websocket {"\\ud83d":1}': [[[{ '\ud83d': 1 }, 'and text', { '\ud83d': 1 }], [{ '\ud83d': 1 }]], [[{ '\ufffd': 1 }, 'and text', { '\ufffd': 1 }], [{ '\ufffd': 1 }]]],
        'polling "a\\ud83d"': [[['a\ud83d', 'and text', 'a\ud83d'], ['a\ud83d']], [['a\ufffd', 'and text', 'a\ufffd'], ['a\ufffd']]],
        'polling "\\udc00b"': [[['\udc00b', 'and text', '\udc00b'], ['\udc00b']], [['\ufffdb', 'and text', '\ufffdb'], ['\ufffdb']]],
        'polling "x\\ud83dy\\ude00"': [[['x\ud83dy\ude00', 'and text', 'x\ud83dy\ude00'], ['x\ud83dy\ude00']], [['x\ufffdy\ufffd', 'and text', 'x\ufffdy\ufffd'], ['x\ufffdy\ufffd']]],
        'polling {"\\ud83d":1}': [[[{ '\ud83d': 1 }, 'and text', { '\ud83d': 1 }], [{ '\ud83d': 1 }]], [[{ '\ufffd': 1 }, 'and text', { '\ufffd': 1 }], [{ '\ufffd': 1 }]]],
      },
    },
    {
      scenario: 'text beyond the limit',
      reason: 'The server refuses a POST that is too large, and the session continues. The reference ends the session.',
      seen: {
        'server by hand': [[['connection', '/', false], ['note', 'xxxxxxxxxxxxxxxxxxxx… 19987 99f31e78'], ['disconnect', '/', 'transport error', []]], [['connection', '/', false], ['note', 'xxxxxxxxxxxxxxxxxxxx… 19987 99f31e78'], ['disconnect', '/', 'transport close', []]]],
        'by hand': [['40{"sid":"…"}', ['ended', 400]], ['40{"sid":"…"}', '431["alive"]']],
      },
    },
    {
      scenario: 'nested beyond sixty',
      reason: 'JSON may be nested at most 64 deep (Options.MaxDepth).',
      seen: {
        a: [[['connect'], 'answered', ['disconnect', 'io client disconnect']], [['connect'], ['disconnect', 'transport close']]],
        'server a': [[['connection', '/', false], ['disconnect', '/', 'client namespace disconnect', []]], [['connection', '/', false], ['disconnect', '/', 'forced close', []]]],
      },
    },
    {
      scenario: 'msgpack over websocket',
      reason: 'The server keeps arguments as JSON. So MessagePack values that JSON does not have become what JSON makes of them.',
      seen: {
        NaN: [[[NaN, 'and text', NaN], [NaN]], [[null, 'and text', null], [null]]],
        infinity: [[[Infinity, 'and text', Infinity], [Infinity]], [[null, 'and text', null], [null]]],
        undefined: [[[undefined, 'and text', undefined], [undefined]], [[null, 'and text', null], [null]]],
        date: [[[{ date: 0 }, 'and text', { date: 0 }], [{ date: 0 }]], [['1970-01-01T00:00:00.000Z', 'and text', '1970-01-01T00:00:00.000Z'], ['1970-01-01T00:00:00.000Z']]],
        'invalid date': [[[[{ date: 0 }], 'and text', [{ date: 0 }]], [[{ date: 0 }]]], [[['1970-01-01T00:00:00.000Z'], 'and text', ['1970-01-01T00:00:00.000Z']], [['1970-01-01T00:00:00.000Z']]]],
        sparse: [[[[1, undefined, 3], 'and text', [1, undefined, 3]], [[1, undefined, 3]]], [[[1, null, 3], 'and text', [1, null, 3]], [[1, null, 3]]]],
        'undefined within': [[[{ a: undefined, b: [undefined] }, 'and text', { a: undefined, b: [undefined] }], [{ a: undefined, b: [undefined] }]], [[{ b: [null] }, 'and text', { b: [null] }], [{ b: [null] }]]],
      },
    },
    {
      scenario: 'msgpack over polling',
      reason: 'The server keeps arguments as JSON. So MessagePack values that JSON does not have become what JSON makes of them.',
      seen: {
        NaN: [[[NaN, 'and text', NaN], [NaN]], [[null, 'and text', null], [null]]],
        infinity: [[[Infinity, 'and text', Infinity], [Infinity]], [[null, 'and text', null], [null]]],
        undefined: [[[undefined, 'and text', undefined], [undefined]], [[null, 'and text', null], [null]]],
        date: [[[{ date: 0 }, 'and text', { date: 0 }], [{ date: 0 }]], [['1970-01-01T00:00:00.000Z', 'and text', '1970-01-01T00:00:00.000Z'], ['1970-01-01T00:00:00.000Z']]],
        'invalid date': [[[[{ date: 0 }], 'and text', [{ date: 0 }]], [[{ date: 0 }]]], [[['1970-01-01T00:00:00.000Z'], 'and text', ['1970-01-01T00:00:00.000Z']], [['1970-01-01T00:00:00.000Z']]]],
        sparse: [[[[1, undefined, 3], 'and text', [1, undefined, 3]], [[1, undefined, 3]]], [[[1, null, 3], 'and text', [1, null, 3]], [[1, null, 3]]]],
        'undefined within': [[[{ a: undefined, b: [undefined] }, 'and text', { a: undefined, b: [undefined] }], [{ a: undefined, b: [undefined] }]], [[{ b: [null] }, 'and text', { b: [null] }], [{ b: [null] }]]],
      },
    },
  ],
  recovery: [
    {
      scenario: 'a client that has received nothing',
      reason: 'A client is recovered even if it has received no event yet.',
      seen: {
        a: [[['connect'], ['disconnect', 'forced close'], ['connect'], ['disconnect', 'io client disconnect']], [['connect'], ['disconnect', 'forced close'], ['connect', 'recovered'], ['disconnect', 'io client disconnect']]],
        'server a': [[['connection', '/', false], ['disconnect', '/', 'transport close', ['r']], ['connection', '/', false], ['rooms', []], ['disconnect', '/', 'client namespace disconnect', []]], [['connection', '/', false], ['disconnect', '/', 'transport close', ['r']], ['connection', '/', true], ['rooms', ['r']], ['disconnect', '/', 'client namespace disconnect', ['r']]]],
        'a recovered': [[false], [true]],
      },
    },
    {
      scenario: 'a volatile event that ends in a text',
      reason: 'A client takes the last string of each event as an offset, even in a volatile event, which has none. It is recovered anyway.',
      seen: {
        a: [[['connect'], ['first', 1, '<offset>'], ['volatile', 'a text'], ['disconnect', 'forced close'], ['connect'], ['disconnect', 'io client disconnect']], [['connect'], ['first', 1, '<offset>'], ['volatile', 'a text', '<offset>'], ['disconnect', 'forced close'], ['missed', 1, '<offset>'], ['connect', 'recovered'], ['disconnect', 'io client disconnect']]],
        'server a': [[['connection', '/', false], ['disconnect', '/', 'transport close', ['r']], ['connection', '/', false], ['rooms', []], ['disconnect', '/', 'client namespace disconnect', []]], [['connection', '/', false], ['disconnect', '/', 'transport close', ['r']], ['connection', '/', true], ['rooms', ['r']], ['disconnect', '/', 'client namespace disconnect', ['r']]]],
        'a recovered': [[false], [true]],
      },
    },
    {
      scenario: 'events of a room from before it was joined',
      reason: 'A recovered client gets the events of a room only from the time when it was in that room. The reference also discloses earlier ones.',
      seen: {
        a: [[['connect'], ['to all', 1, '<offset>'], ['disconnect', 'forced close'], ['before it had joined', 1, '<offset>'], ['missed', 2, '<offset>'], ['connect', 'recovered'], ['disconnect', 'io client disconnect']], [['connect'], ['to all', 1, '<offset>'], ['disconnect', 'forced close'], ['missed', 2, '<offset>'], ['connect', 'recovered'], ['disconnect', 'io client disconnect']]],
      },
    },
    {
      scenario: 'by hand: the old connection is still there',
      reason: 'A client takes over its old connection even if the server does not know yet that it is dead. The reference makes a second socket.',
      seen: {
        old: [['open', '40{"sid":"<old>","pid":"…"}', '430[]', '42["m",1,"<offset>"]', '42["m",2,"<offset>"]'], ['open', '40{"sid":"<new>","pid":"…"}', '430[]', '42["m",1,"<offset>"]', ['closed', 1005, '']]],
        'server old': [[['connection', '/', false], ['disconnect', '/', 'transport close', ['r']]], [['connection', '/', false], ['disconnect', '/', 'forced close', ['r']]]],
        'server new': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], [['connection', '/', true], ['disconnect', '/', 'transport close', ['r']]]],
      },
    },
  ],
  engine: [
    {
      scenario: 'handshakes that are refused',
      reason: 'JSONP must be allowed (Options.JSONP).',
      seen: {
        'EIO=4&transport=polling&j=0': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[0](…)' }], [{ status: 400, type: 'application/json', body: '{"code":0,"message":"Transport unknown"}' }]],
      },
    },
    {
      scenario: 'methods',
      reason: 'The server answers OPTIONS like a preflight, without headers if no origin is allowed. Other methods than GET and POST get 405 from a session: 500 would say that the server has failed.',
      seen: {
        ...Object.fromEntries(['PUT', 'DELETE', 'PATCH'].map((method) => [`${method} of a session`,
          [[{ status: 500, type: undefined, body: '' }], [{ status: 405, type: 'application/json', body: '{"code":3,"message":"Bad request"}' }]]])),
        'OPTIONS a handshake': [[{ status: 400, type: 'application/json', body: '{"code":2,"message":"Bad handshake method"}' }], [{ status: 204, type: undefined, body: '' }]],
        'OPTIONS of a session': [[{ status: 500, type: undefined, body: '' }], [{ status: 204, type: undefined, body: '' }]],
      },
    },
    {
      scenario: 'paths',
      reason: 'The server also serves the path without its slash, so clients with addTrailingSlash: false need no server option.',
      seen: {
        '/socket.io': [[{ status: 404, location: undefined }], [{ status: 200, location: undefined }]],
      },
    },
    {
      scenario: 'WebSockets that are refused',
      reason: 'The server refuses a WebSocket of another protocol version with 400. The reference accepts and closes it.',
      seen: {
        'no version': [[['closed', 1006, '']], [['refused', 400]]],
        'version 3': [[['closed', 1006, '']], [['refused', 400]]],
        'version 5': [[['closed', 1006, '']], [['refused', 400]]],
      },
    },
    {
      scenario: 'WebSockets that are refused',
      reason: 'Another path gets 404. The reference cuts the connection after a second.',
      seen: {
        'another path': [[['failed', 'ECONNRESET']], [['refused', 404]]],
      },
    },
    {
      scenario: 'upgrade requests that are none',
      reason: 'The answer 426 names the supported version (RFC 6455, section 4.4).',
      seen: {
        'no version': [['HTTP/1.1 400 Bad Request'], ['HTTP/1.1 426 Upgrade Required']],
        'version 12': [['HTTP/1.1 400 Bad Request'], ['HTTP/1.1 426 Upgrade Required']],
        'another protocol': [['HTTP/1.1 400 Bad Request'], ['HTTP/1.1 426 Upgrade Required']],
      },
    },
    {
      scenario: 'payloads that are refused',
      reason: 'A client that breaks the protocol, or sends events before it has joined, loses its session at once. The reference accepts POSTs until it has answered the last poll.',
      seen: {
        '"4"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"4x"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"b"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"bAA"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"b!!"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"4é"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"44"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"42[\\"note\\"]"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
        '"4\\u001e6"': [[{ status: 200, type: 'text/html', body: 'ok' }, 200], [{ status: 200, type: 'text/html', body: 'ok' }, 400]],
      },
    },
    {
      scenario: 'headers of answers',
      reason: 'Errors also have Cache-Control: no-store and a length.',
      seen: {
        error: [[{ status: 400, type: 'application/json', body: '{"code":1,"message":"Session ID unknown"}', 'cache-control': undefined, 'access-control-allow-origin': undefined, vary: undefined, 'content-length': undefined, 'x-xss-protection': undefined, 'set-cookie': undefined }], [{ status: 400, type: 'application/json', body: '{"code":1,"message":"Session ID unknown"}', 'cache-control': 'no-store', 'access-control-allow-origin': undefined, vary: undefined, 'content-length': '41', 'x-xss-protection': undefined, 'set-cookie': undefined }]],
      },
    },
    {
      scenario: 'headers of answers',
      reason: 'X-XSS-Protection is for Internet Explorer, in which no Engine.IO 4 client runs.',
      seen: {
        browser: [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'open', 'x-xss-protection': '0' }], [{ status: 200, type: 'text/plain; charset=UTF-8', body: 'open', 'x-xss-protection': undefined }]],
      },
    },
    {
      scenario: 'compression of polling',
      reason: 'The server compresses bodies only for clients that name an encoding.',
      seen: {
        '* 5000': [[{ encoding: 'gzip', type: 'text/plain; charset=UTF-8' }], [{ encoding: undefined, type: 'text/plain; charset=UTF-8' }]],
      },
    },
    {
      scenario: 'pages of other origins',
      reason: 'Only requests with an Origin get the headers for other origins.',
      seen: {
        'no origin': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'open', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': undefined, 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }], [{ status: 200, type: 'text/plain; charset=UTF-8', body: 'open', 'access-control-allow-origin': undefined, 'access-control-allow-credentials': undefined, vary: 'Origin', 'access-control-allow-methods': undefined, 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }]],
      },
    },
    {
      scenario: 'pages of other origins',
      reason: 'A preflight lists the methods and headers that clients use (CORS.Headers adds some); the reference allows all.',
      seen: {
        preflight: [[{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin, Access-Control-Request-Headers', 'access-control-allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE', 'access-control-allow-headers': 'content-type', 'access-control-max-age': undefined }], [{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': 'GET, POST', 'access-control-allow-headers': 'Content-Type', 'access-control-max-age': undefined }]],
        'preflight of a handshake': [[{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin, Access-Control-Request-Headers', 'access-control-allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE', 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }], [{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': 'GET, POST', 'access-control-allow-headers': 'Content-Type', 'access-control-max-age': undefined }]],
        'preflight without a query': [[{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin, Access-Control-Request-Headers', 'access-control-allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE', 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }], [{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': 'GET, POST', 'access-control-allow-headers': 'Content-Type', 'access-control-max-age': undefined }]],
        'preflight with a header of its own': [[{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin, Access-Control-Request-Headers', 'access-control-allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE', 'access-control-allow-headers': 'x-own,authorization', 'access-control-max-age': undefined }], [{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': 'GET, POST', 'access-control-allow-headers': 'Content-Type', 'access-control-max-age': undefined }]],
        'preflight of an unknown session': [[{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin, Access-Control-Request-Headers', 'access-control-allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE', 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }], [{ status: 204, type: undefined, body: '', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': 'GET, POST', 'access-control-allow-headers': 'Content-Type', 'access-control-max-age': undefined }]],
      },
    },
    {
      scenario: 'pages of other origins',
      reason: 'The server refuses an origin that is not allowed. The reference only omits the headers, which does not stop WebSockets.',
      seen: {
        'another origin': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'open', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': undefined, 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }], [{ status: 403, type: 'application/json', body: '{"code":4,"message":"Origin not allowed"}', 'access-control-allow-origin': undefined, 'access-control-allow-credentials': undefined, vary: 'Origin', 'access-control-allow-methods': undefined, 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }]],
        null: [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'open', 'access-control-allow-origin': 'http://app.example', 'access-control-allow-credentials': 'true', vary: 'Origin', 'access-control-allow-methods': undefined, 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }], [{ status: 403, type: 'application/json', body: '{"code":4,"message":"Origin not allowed"}', 'access-control-allow-origin': undefined, 'access-control-allow-credentials': undefined, vary: 'Origin', 'access-control-allow-methods': undefined, 'access-control-allow-headers': undefined, 'access-control-max-age': undefined }]],
        'WebSocket of another': [['open'], [['refused', 403]]],
      },
    },
    {
      scenario: 'a cookie',
      reason: 'Sessions that begin with a WebSocket get the cookie too.',
      seen: {
        'has cookie': [[[]], [['io=…; Path=/; HttpOnly; SameSite=Strict']]],
      },
    },
    {
      scenario: 'an upgrade without a probe',
      reason: 'An upgrade must begin with a probe, as the protocol says. Otherwise a poll may still be open.',
      seen: {
        websocket: [['431["alive"]'], [['closed', 1005, '']]],
      },
    },
    {
      scenario: 'requests that are odd',
      reason: 'A request line may contain an absolute URI (RFC 9112, section 3.2.2).',
      seen: {
        'an absolute address': [['404'], ['200']],
      },
    },
    {
      scenario: 'subprotocols and extensions of a WebSocket',
      reason: 'Each message is compressed separately, so that no context is kept between messages (Options.Compression).',
      seen: {
        deflate: [[['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate']], [['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover']]],
        client_max_window_bits: [[['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate']], [['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover']]],
        'no context of the server': [[['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_no_context_takeover']], [['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover']]],
        'a small window': [[['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_max_window_bits=10']], [['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10']]],
        'one that is unknown': [[['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate']], [['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover']]],
      },
    },
    {
      scenario: 'subprotocols and extensions of a WebSocket',
      reason: 'The server declines an offer of permessage-deflate that it cannot accept (RFC 7692, section 5.1). The reference refuses the handshake.',
      seen: {
        'one that is wrong': [[['http/1.1 400 bad request']], [['http/1.1 101 switching protocols', 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=']]],
      },
    },
  ],
  legacy: [
    {
      scenario: 'handshakes by hand',
      reason: 'Only EIO=3 means Engine.IO 3, not everything other than EIO=4.',
      seen: {
        'transport=polling': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'n:0{.}', open: { upgrades: ['websocket'], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 } }], [{ status: 400, type: 'application/json', body: '{.}', open: {} }]],
        'server transport=polling': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
        'EIO=2&transport=polling': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'n:0{.}', open: { upgrades: ['websocket'], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 } }], [{ status: 400, type: 'application/json', body: '{.}', open: {} }]],
        'server EIO=2&transport=polling': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
        'EIO=&transport=polling': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: 'n:0{.}', open: { upgrades: ['websocket'], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 } }], [{ status: 400, type: 'application/json', body: '{.}', open: {} }]],
        'server EIO=&transport=polling': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
      },
    },
    {
      scenario: 'payloads by hand',
      reason: 'The server handles the packets before one that breaks the protocol. The reference drops them if all arrive in one read.',
      seen: {
        'server "12:42[\\"note\\",1]1:9"': [[['connection', '/', false], ['disconnect', '/', 'parse error', []]], [['connection', '/', false], ['note', 1], ['disconnect', '/', 'parse error', []]]],
      },
    },
    {
      scenario: 'binary payloads by hand',
      reason: 'A binary payload that is cut off, is empty, or has a packet of an unknown type ends the session. The reference accepts what it can read.',
      seen: {
        'server cut off': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'parse error', []]]],
        'cut off': [[{ status: 200, body: 'ok' }, 200], [{ status: 200, body: 'ok' }, 400]],
        'server cut off behind another': [[['connection', '/', false], ['note', 1], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['note', 1], ['disconnect', '/', 'parse error', []]]],
        'cut off behind another': [[{ status: 200, body: 'ok' }, 200], [{ status: 200, body: 'ok' }, 400]],
        'server unknown type': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'parse error', []]]],
        'unknown type': [[{ status: 200, body: 'ok' }, 200], [{ status: 200, body: 'ok' }, 400]],
        'server empty': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], [['connection', '/', false], ['disconnect', '/', 'parse error', []]]],
        empty: [[{ status: 200, body: 'ok' }, 200], [{ status: 200, body: 'ok' }, 400]],
      },
    },
    {
      scenario: 'offsets of connection state recovery',
      reason: 'Clients of Engine.IO 3 cannot be recovered, so events to them alone have no offset. Broadcasts have offsets for all clients.',
      seen: {
        old: [[['connect'], ['alone', 1, '<offset>'], ['all', 2, '<offset>'], ['all', 2, '<offset>'], ['disconnect', 'io client disconnect']], [['connect'], ['alone', 1], ['all', 2, '<offset>'], ['all', 2, '<offset>'], ['disconnect', 'io client disconnect']]],
      },
    },
    {
      scenario: 'JSONP by hand',
      reason: 'A script is text/javascript. It begins with an empty comment, so that it cannot begin with text that a client has chosen.',
      seen: {
        'j=0': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[0]("n:0{…}");' }, { status: 200, body: 'ok' }], [{ status: 200, type: 'text/javascript; charset=UTF-8', body: '/**/___eio[0]("n:0{…}");' }, { status: 200, body: 'ok' }]],
        'j=12': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[12]("n:0{…}");' }, { status: 200, body: 'ok' }], [{ status: 200, type: 'text/javascript; charset=UTF-8', body: '/**/___eio[12]("n:0{…}");' }, { status: 200, body: 'ok' }]],
      },
    },
    {
      scenario: 'JSONP by hand',
      reason: "JSONP's j must consist of digits. The reference strips other characters.",
      seen: {
        'j=': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[]("n:0{…}");' }, { status: 200, body: 'ok' }], [{ status: 400, type: 'application/json', body: '{…}' }]],
        'server j=': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
        'j=x': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[]("n:0{…}");' }, { status: 200, body: 'ok' }], [{ status: 400, type: 'application/json', body: '{…}' }]],
        'server j=x': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
        'j=1;alert(1)': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[11]("n:0{…}");' }, { status: 200, body: 'ok' }], [{ status: 400, type: 'application/json', body: '{…}' }]],
        'server j=1;alert(1)': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
        'j=-1': [[{ status: 200, type: 'text/plain; charset=UTF-8', body: '___eio[1]("n:0{…}");' }, { status: 200, body: 'ok' }], [{ status: 400, type: 'application/json', body: '{…}' }]],
        'server j=-1': [[['connection', '/', false], ['disconnect', '/', 'transport close', []]], undefined],
      },
    },
  ],
};
