// Client on the `ws` library that a test leads by the hand; see cases.md.
//
// usage: ws_puppet.js URL [mute]
'use strict';

const readline = require('readline');
const WebSocket = require('ws');
const { say } = require('./cases');

const [url, manner] = process.argv.slice(2);

const socket = new WebSocket(url, { perMessageDeflate: false, autoPong: manner !== 'mute' });

const ORDERS = {
  text: (...words) => socket.send(words.join(' ')),
  binary: (size) => socket.send(Buffer.alloc(Number(size))),
  close: (code, ...reason) => socket.close(Number(code), reason.join(' ')),
  raw: (hex) => socket._socket.write(Buffer.from(hex, 'hex')),
};

socket.on('open', () => {
  say({ event: 'open' });
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const [word, ...rest] = line.split(' ');
    ORDERS[word](...rest);
  });
});
socket.on('ping', () => say({ event: 'ping' }));
socket.on('message', (message, isBinary) => {
  say({ event: 'message', text: isBinary ? null : message.toString(), size: message.length });
});
socket.on('error', (error) => say({ event: 'error', text: error.message }));
socket.on('close', (code, reason) => {
  say({ event: 'close', code, reason: reason.toString() });
  process.exit();
});
