// Tells every request as Node's `http` got it and answers as it asks; see cases.md.
//
// usage: mirror.js
'use strict';

const crypto = require('crypto');
const http = require('http');
const { listen, say } = require('./cases');

// [a, b, c, d] is how Node lists fields; [[a, b], [c, d]] is how we do.
function pairs(flat) {
  return flat.flatMap((name, at) => (at % 2 ? [] : [[name, flat[at + 1]]]));
}

async function read(request) {
  const hash = crypto.createHash('sha256');
  let length = 0;
  for await (const chunk of request) {
    hash.update(chunk);
    length += chunk.length;
  }
  return { length, sha256: hash.digest('hex') };
}

function tell({ method, url, rawHeaders, rawTrailers }, body) {
  const [headers, trailers] = [pairs(rawHeaders), pairs(rawTrailers)];
  say({ event: 'request', method, target: url, headers, trailers, ...body });
}

async function answer(asked, request, response) {
  const { status = 200, reason, headers = [], chunks, trailers = [], hints = 0 } = asked;
  for (let hint = 0; hint < hints; hint += 1) {
    response.writeEarlyHints({ link: `</${hint}.css>; rel=preload` });
  }
  const body = asked.base64 ? Buffer.from(asked.base64, 'base64') : Buffer.from(asked.body ?? request.url);
  const bodiless = status === 204 || status === 304;
  const length = chunks || bodiless ? [] : [['Content-Length', body.length]];
  const fields = [...headers, ...length].flat();
  if (reason === undefined) response.writeHead(status, fields);
  else response.writeHead(status, reason, fields);
  if (chunks) {
    for (const chunk of chunks) {
      // Each in a write of its own.
      await new Promise((resolve) => { response.write(chunk, resolve); });
    }
    response.addTrailers(trailers);
    response.end();
  } else {
    response.end(bodiless ? undefined : body);
  }
}

const server = http.createServer({ maxHeaderSize: 1 << 16 }, async (request, response) => {
  const asked = JSON.parse(request.headers['x-answer'] ?? '{}');
  try {
    tell(request, await read(request));
    await answer(asked, request, response);
  } catch (error) {
    say({ event: 'broken', error: error.message });
  }
});

listen(server);
