// socket.io client that stays connected and tells where to; see cases.md.
//
// usage: socketio_puppet.js URL TRANSPORT[,TRANSPORT] ADDRESS
'use strict';

const readline = require('readline');
const { io } = require('socket.io-client');
const { say } = require('./cases');

const [url, list, address] = process.argv.slice(2);
const socket = io(url, {
  transports: list.split(','),
  extraHeaders: { 'X-Forwarded-For': address },
  reconnectionDelay: 10,
  reconnectionDelayMax: 100,
});

socket.on('welcome', async (server) => {
  const echo = await socket.emitWithAck('echo', 'hello');
  say({ event: 'welcome', server, echo });
});
socket.on('disconnect', (reason, details) => {
  say({ event: 'disconnect', reason, code: details && details.context && details.context.code });
});
socket.io.engine.on('upgrade', (transport) => say({ event: 'upgrade', transport: transport.name }));

// Every line of input is something to say.
readline.createInterface({ input: process.stdin }).on('line', (text) => socket.emit('echo', text, () => {}));
