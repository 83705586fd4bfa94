// Acknowledgements in both directions, and middleware and catch-all listeners of events.
import { scenarios } from './twin.mjs';

scenarios('acks', {
  'what a server may answer': async (c) => {
    for (const transports of [['websocket'], ['polling']]) {
      const a = await c.up(transports.join(), '/', { transports });
      for (const answer of [[], [null], [1, 'two', [3], { four: 4 }, null], [Buffer.from([5])], [{ deep: [Buffer.from([6])] },
        Buffer.alloc(0)], [false], [0], [''], [[]]]) c.saw('answer', await c.ask(a, 'do', [['ack', ...answer]]));
      c.saw('no arguments', await c.ask(a, 'echo'));
      c.saw('undefined', await c.ask(a, 'echo', undefined, [undefined], { a: undefined }));
    }
  },

  'answered twice, or without being asked': async (c) => {
    const a = await c.up('a');
    a.emit('do', [['ack', 1], ['ack', 2]], (...answer) => c.saw('answers', answer));
    a.emit('echo', 'nobody asked');
    a.emit('do', [['ack', 'nobody asked']]);
    await c.settled(a);
  },

  'the order of events and answers': async (c) => {
    for (const transports of [['websocket'], ['polling']]) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports });
      a.emit('do', [['emit', 'before'], ['ack', 1], ['emit', 'after'], ['emit', 'binary', Buffer.from([1])]], () => c.saw(name, 'answer'));
      for (let i = 0; i < 5; i++) a.emit('echo', i, () => c.saw(name, i));
      await c.settled(a);
    }
  },

  'a client is asked': async (c) => {
    for (const transports of [['websocket'], ['polling']]) {
      const name = transports.join();
      const a = await c.up(name, '/', { transports });
      a.on('q', (what, answer) => answer(...what));
      let n = 0;
      for (const what of [[1], [], ['one', 'two'], [null], [Buffer.from([1, 2])], [{ deep: [Buffer.from([3])] }], [[]],
        [{ error: 'no' }]]) {
        await c.do(a, ['ask', 'answer', 0, 'q', what]);
        await c.see(`server ${name} asks`, 'answer', ++n);
      }
    }
  },

  'a client that answers late, twice, or never': async (c) => {
    const a = await c.up('a');
    let late;
    a.on('late', (answer) => { late = answer; });
    a.on('twice', (answer) => { answer(1); answer(2); });
    await c.do(a, ['ask', 'late', 100, 'late']);
    await c.see('server a asks', 'late');
    await c.do(a, ['ask', 'never', 100, 'never']);
    await c.see('server a asks', 'never');
    await c.do(a, ['ask', 'twice', 5000, 'twice']);
    await c.until(() => c.seen('server a asks').length === 3, 'the answers');
    late('too late');
    a.emit('echo', 'late', (answer) => c.saw('answer', answer));
    await c.settled(a);
  },

  'a client that is gone before it answers': async (c) => {
    for (const timeout of [0, 500]) {
      const name = `a ${timeout}`;
      const a = await c.up(name);
      await c.do(a, ['ask', `answer ${timeout}`, timeout, 'q']);
      await c.see(name, 'q');
      a.disconnect();
      await c.see(`server ${name}`, 'disconnect');
      if (timeout || c.kind === 'ours') await c.see(`server ${name} asks`, `answer ${timeout}`);
    }
  },

  'a room is asked': async (c) => {
    const w = await c.up('w');
    const clients = [];
    for (const name of ['a', 'b', 'd']) {
      const client = await c.up(name);
      await c.do(client, ['join', 'r']);
      client.on('q', (what, answer) => answer(name));
      client.on('binary', (what, answer) => answer(Buffer.from(name), what));
      clients.push(client);
    }
    await c.do(w, ['askAll', 'all', { to: ['r'], timeout: 60_000 }, 'q', 1]);
    await c.see('server w asks', 'all');
    await c.do(w, ['askAll', 'not b', { to: ['r'], except: [clients[1].id], timeout: 60_000 }, 'q', 1]);
    await c.see('server w asks', 'not b');
    await c.do(w, ['askAll', 'nobody', { to: ['nobody'], timeout: 60_000 }, 'q', 1]);
    await c.see('server w asks', 'nobody');
    await c.do(w, ['askAll', 'binary', { to: [clients[0].id], timeout: 60_000 }, 'binary', Buffer.from([1])]);
    await c.see('server w asks', 'binary');
    clients[1].off('q');
    await c.do(w, ['askAll', 'one is silent', { to: ['r'], timeout: 5000 }, 'q', 1]);
    await c.see('server w asks', 'one is silent');
    for (const client of clients) await c.settled(client);
  },

  'a room is asked and one of it leaves': async (c) => {
    const w = await c.up('w');
    for (const name of ['a', 'b']) {
      const client = await c.up(name);
      await c.do(client, ['join', 'r']);
      client.on('q', (answer) => { if (name === 'a') answer(name); else client.disconnect(); });
    }
    await c.do(w, ['askAll', 'answers', { to: ['r'], timeout: 5000 }, 'q']);
    await c.see('server w asks', 'answers');
    await c.see('server b', 'disconnect');
  },

  'answers by hand': async (c) => {
    for (const [name, answers] of Object.entries({
      twice: ['3ID[1]', '3ID[2]'], 'no id': ['3[1]', '3ID[3]'], 'unknown id': ['3999[1]', '3ID[4]'], 'no array': ['3ID'],
      'an object': ['3ID{}'], binary: ['61-ID[{"_placeholder":true,"num":0}]', Buffer.from([9])],
      'many': ['3ID[1,2,3]'], empty: ['3ID[]'], 'in another namespace': ['3/admin,ID[1]'],
    })) {
      const a = await c.open(name);
      a.send('42["do",[["ask","answer",400,"q"]]]');
      await c.until(() => c.seen(name).some((seen) => /\["q"\]/.test(seen)), 'the question');
      const id = /^42(\d+)/.exec(c.seen(name).find((seen) => /\["q"\]/.test(seen)))[1];
      for (const answer of answers) a.send(typeof answer === 'string' ? `4${answer.replace('ID', id)}` : answer);
      await c.see(`server ${name} asks`, 'answer');
      if (name === 'an object' || name === 'in another namespace') await c.see(name, 'closed');
      a.terminate();
      await c.see(`server ${name}`, 'disconnect');
      // The ids count the packets to all clients.
      c.record.set(name, c.seen(name).map((seen) => (typeof seen === 'string' ? seen.replace(/^42\d+/, '42ID') : seen)));
    }
  },

  'ids of events by hand': async (c) => {
    const a = await c.open('by hand');
    for (const [i, id] of ['0', '7', '007', '9007199254740991', '2147483648', '4294967296'].entries()) {
      a.send(`42${id}["echo","id"]`);
      await c.until(() => c.seen('by hand').length > i + 2, 'the answer');
    }
  },

  'middleware of events': async (c) => {
    const a = await c.up('a');
    await c.do(a, ['guard', 'note'], ['guard', 'back']);
    a.emit('note', 'is refused');
    a.emit('back', 'is refused');
    c.saw('answer', await c.ask(a, 'echo', 'passes'));
  },

  'listeners for all events': async (c) => {
    const a = await c.up('a');
    await c.do(a, ['catchAny']);
    for (const event of ['note', 'unknown to everybody', 'note']) {
      a.emit(event, 1);
      if (event === 'note') await c.see('server a', ['note', 1], c.seen('server a').filter(([word]) => word === 'note').length + 1);
      await c.settled(a);
    }
    const b = await c.up('b');
    await c.do(b, ['catchOutgoing'], ['join', 'r'], ['emit', 'own', 1, 2], ['send', {}, 'all', 1], ['send', { to: ['r'] }, 'room',
      Buffer.from([1]), 2], ['send', { from: 'others' }, 'others'], ['send', { to: ['nobody'] }, 'nobody']);
    await c.do(a, ['send', {}, 'from a']);
    await c.settled(b);
    await c.do(a, ['send', { to: ['r'], volatile: true }, 'volatile']);
    await c.settled(b);
  },

  'names of events that servers may not use': async (c) => {
    const a = await c.up('a');
    for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener', 'error',
      'connection', 'reconnect', 'ping', 'message', '', ' ', '__proto__', 'constructor']) await c.do(a, ['tryEmit', name]);
    await c.settled(a);
  },

  'names of events that clients use': async (c) => {
    const a = await c.up('a');
    for (const name of ['', ' ', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'é\u2028', 'x'.repeat(2000), 42, '42',
      'message', 'error', 'ping']) {
      await c.do(a, ['emit', String(name), 'from the server']);
      a.emit(name, 'from the client');
    }
    for (const [what, name] of Object.entries({ null: null, true: true, object: { a: 1 }, array: [1], undefined,
      binary: Buffer.from([1]) })) {
      const b = await c.up(what);
      try { b.emit(name, 1); } catch (error) { c.saw(what, error.message); }
      b.emit('echo', 'alive', () => c.saw(what, 'alive'));
      await c.until(() => c.seen(what).some((seen) => seen === 'alive' || seen[0] === 'disconnect'), what);
    }
    await c.settled(a);
  },
});
