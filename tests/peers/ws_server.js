// Echo server on the `ws` library; see cases.md.
//
// usage: ws_server.js [CERT KEY], or ws_server.js PATH for a unix socket
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const { WebSocketServer } = require('ws');
const { listen } = require('./cases');

const [cert, key] = process.argv.slice(2);
const server = key
  ? https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
  : http.createServer();

const sockets = new WebSocketServer({
  server,
  perMessageDeflate: true,
  handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false),
});

sockets.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => {
    const text = isBinary ? '' : message.toString();
    if (text === 'ping') {
      socket.once('pong', () => socket.send('pong'));
      socket.ping();
    } else if (text.startsWith('close ')) {
      const [, code, reason] = text.match(/^close (\d+) (.*)$/);
      socket.close(Number(code), reason);
    } else {
      socket.send(message, { binary: isBinary });
    }
  });
});

listen(server, key ? undefined : cert);
