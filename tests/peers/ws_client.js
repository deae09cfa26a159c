// Client on the `ws` library that runs every case of cases.md.
//
// usage: ws_client.js URL [CA]
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const { once } = require('events');
const WebSocket = require('ws');
const { run } = require('./cases');

const [url, ca] = process.argv.slice(2);

async function dial({ protocols = [], deflate = false } = {}) {
  const socket = new WebSocket(url, protocols, {
    perMessageDeflate: deflate,
    ca: ca && fs.readFileSync(ca),
  });
  await once(socket, 'open');
  return socket;
}

async function hear(socket) {
  const [message, isBinary] = await once(socket, 'message');
  return isBinary ? message : message.toString();
}

async function echoes(socket, message) {
  const heard = hear(socket);
  socket.send(message);
  assert.deepStrictEqual(await heard, message);
}

async function closed(socket) {
  const [code, reason] = await once(socket, 'close');
  return [code, reason.toString()];
}

async function hangUp(socket) {
  const end = closed(socket);
  socket.close(1000);
  assert.deepStrictEqual(await end, [1000, '']);
}

const CASES = {
  async text() {
    const socket = await dial();
    await echoes(socket, 'grüße, 世界 🌊');
    await hangUp(socket);
  },
  async binary() {
    const socket = await dial();
    await echoes(socket, Buffer.from([...Array(256).keys()]));
    await hangUp(socket);
  },
  async fragmented() {
    const socket = await dial();
    const heard = hear(socket);
    socket.send('three', { fin: false });
    socket.send(' ', { fin: false });
    socket.send('fragments', { fin: true });
    assert.strictEqual(await heard, 'three fragments');
    await hangUp(socket);
  },
  async one_mebibyte() {
    const socket = await dial();
    await echoes(socket, crypto.randomBytes(1 << 20));
    await hangUp(socket);
  },
  async empty() {
    const socket = await dial();
    await echoes(socket, '');
    await echoes(socket, Buffer.alloc(0));
    await hangUp(socket);
  },
  async ping_from_client() {
    const socket = await dial();
    const pong = once(socket, 'pong');
    socket.ping('are you there?');
    assert.strictEqual((await pong)[0].toString(), 'are you there?');
    await hangUp(socket);
  },
  async ping_from_server() {
    const socket = await dial();
    const heard = hear(socket);
    socket.send('ping');
    assert.strictEqual(await heard, 'pong');
    await hangUp(socket);
  },
  async close_from_client() {
    const socket = await dial();
    const end = closed(socket);
    socket.close(4001, 'enough');
    assert.deepStrictEqual(await end, [4001, 'enough']);
  },
  async close_from_server() {
    for (const code of [1000, 1001, 1011, 3000, 4999]) {
      const socket = await dial();
      const end = closed(socket);
      socket.send(`close ${code} as asked`);
      assert.deepStrictEqual(await end, [code, 'as asked']);
    }
  },
  async subprotocol() {
    const chat = await dial({ protocols: ['other', 'chat'] });
    assert.strictEqual(chat.protocol, 'chat');
    await echoes(chat, 'over chat');
    await hangUp(chat);
    const none = await dial();
    assert.strictEqual(none.protocol, '');
    await hangUp(none);
  },
  async deflate() {
    const socket = await dial({ deflate: true });
    assert.match(socket.extensions, /^permessage-deflate/);
    await echoes(socket, 'squeeze me '.repeat(10_000));
    await echoes(socket, crypto.randomBytes(100_000));
    await hangUp(socket);
  },
};

run(CASES);
