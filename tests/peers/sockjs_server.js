// SockJS echo server; see cases.md.
//
// usage: sockjs_server.js
'use strict';

const http = require('http');
const sockjs = require('sockjs');
const { listen, say } = require('./cases');

const echo = sockjs.createServer({ prefix: '/echo', log: () => {} });

echo.on('connection', (session) => {
  if (!session) return;
  say({ event: 'connection', transport: session.protocol });
  session.on('data', (text) => {
    const [word, code, reason] = text.split(' ');
    if (word === 'close') {
      session.close(Number(code), reason);
    } else {
      session.write(text);
    }
  });
});

const server = http.createServer();
echo.installHandlers(server);
listen(server);
