// socket.io client that runs every case of cases.md.
//
// usage: socketio_client.js URL TRANSPORT[,TRANSPORT]
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const { once } = require('events');
const { io } = require('socket.io-client');
const { run } = require('./cases');

const [url, list] = process.argv.slice(2);
const transports = list.split(',');
const last = transports[transports.length - 1];

async function dial(path = '') {
  const socket = io(url + path, { transports, forceNew: true });
  const welcome = once(socket, 'welcome');
  await connected(socket);
  const [name] = await welcome;
  return { socket, name };
}

function connected(socket) {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', (error) => reject(new Error(`no connection: ${error}`)));
  });
}

// Resolves once the connection has moved to the last transport it may use.
async function settle({ io: manager }) {
  while (manager.engine.transport.name !== last) {
    await once(manager.engine, 'upgrade');
  }
}

const CASES = {
  async transport() {
    const { socket } = await dial();
    await settle(socket);
    assert.strictEqual(await socket.emitWithAck('transport'), last);
    socket.disconnect();
  },
  async acknowledgements() {
    const { socket } = await dial();
    socket.on('question', (a, b, done) => done(a * b));
    assert.strictEqual(await socket.emitWithAck('ask me'), 42);
    assert.deepStrictEqual(await socket.emitWithAck('echo', { text: 'grüße 🌊' }), { text: 'grüße 🌊' });
    socket.disconnect();
  },
  async binary() {
    const { socket } = await dial();
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 1 << 20]) {
      const bytes = crypto.randomBytes(size);
      assert.deepStrictEqual(await socket.emitWithAck('echo', bytes), bytes);
    }
    await settle(socket);
    const parts = { nested: [crypto.randomBytes(100_000), 'text', crypto.randomBytes(7)] };
    assert.deepStrictEqual(await socket.emitWithAck('echo', parts), parts);
    socket.disconnect();
  },
  async order() {
    const { socket } = await dial();
    const numbers = [...Array(200).keys()];
    const heard = await Promise.all(numbers.map((n) => socket.emitWithAck('echo', n)));
    assert.deepStrictEqual(heard, numbers);
    socket.disconnect();
  },
  async rooms() {
    const members = await Promise.all([dial(), dial(), dial()]);
    const heard = Promise.all(members.map(({ socket }) => once(socket, 'heard')));
    await members[0].socket.emitWithAck('join', 'red');
    await members[1].socket.emitWithAck('join', 'red');
    await members[2].socket.emitWithAck('join', 'blue');
    members[2].socket.emit('shout', 'red', 'hello reds');
    members[0].socket.emit('shout', 'blue', 'hello blues');
    assert.deepStrictEqual(await heard, [['hello reds'], ['hello reds'], ['hello blues']]);
    members.forEach(({ socket }) => socket.disconnect());
  },
  async namespaces() {
    const { socket, name } = await dial('/private');
    assert.match(name, / in private$/);
    socket.disconnect();
  },
  async disconnected_by_the_server() {
    const { socket } = await dial();
    await settle(socket);
    const end = once(socket, 'disconnect');
    socket.emit('leave');
    assert.strictEqual((await end)[0], 'io server disconnect');
  },
};

run(CASES);
