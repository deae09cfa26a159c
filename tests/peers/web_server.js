// A small web site on Node's own `http`; see cases.md.
//
// usage: web_server.js
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const { pipeline } = require('stream/promises');
const { WebSocketServer } = require('ws');
const { listen } = require('./cases');

const CHUNK = Buffer.alloc(64 * 1024, 'tidegate');
// Streams of events that wait to be told to go on, by their id.
const streams = new Map();

async function send(response, count) {
  for (let left = count; left > 0; left -= CHUNK.length) {
    const flowing = response.write(CHUNK.subarray(0, Math.min(left, CHUNK.length)));
    if (!flowing) await new Promise((resolve) => { response.once('drain', resolve); });
  }
  response.end();
}

const ANSWERS = {
  hello: (_, response) => response.end('hello'),
  page: (_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    fs.createReadStream(`${__dirname}/page.html`).pipe(response);
  },
  bytes: (_, response, count) => {
    response.setHeader('Content-Length', count);
    return send(response, Number(count));
  },
  chunks: (_, response, count) => send(response, Number(count)),
  async sum(request, response) {
    const hash = crypto.createHash('sha256');
    let length = 0;
    for await (const chunk of request) {
      hash.update(chunk);
      length += chunk.length;
    }
    response.end(JSON.stringify({ length, sha256: hash.digest('hex') }));
  },
  echo: (request, response) => pipeline(request, response),
  peer: (request, response) => response.end(String(request.socket.remotePort)),
  status: (_, response, status) => {
    response.statusCode = Number(status);
    response.end();
  },
  events: (_, response, id) => {
    response.setHeader('Content-Type', 'text/event-stream');
    let number = 0;
    const next = () => {
      number += 1;
      if (number > 3) response.end();
      else response.write(`id: ${number}\ndata: event ${number}\n\n`);
    };
    streams.set(id, next);
    next();
  },
  next: (_, response, id) => {
    streams.get(id)();
    response.end();
  },
};

const server = http.createServer((request, response) => {
  const [, name, argument] = request.url.split('/');
  const answer = ANSWERS[name];
  if (answer) {
    answer(request, response, argument);
  } else {
    response.statusCode = 404;
    response.end();
  }
});

const sockets = new WebSocketServer({ server, perMessageDeflate: true });
sockets.on('connection', (socket) => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
});

listen(server);
