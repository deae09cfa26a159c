// Client on `undici` that runs every case of a web client; see cases.md.
//
// usage: undici_client.js URL
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const { once } = require('events');
const { Agent, Client, WebSocket, fetch, request } = require('undici');
const { run } = require('./cases');

const [url] = process.argv.slice(2);
const BIG = Buffer.alloc(1 << 23, 'tidegate');

async function* pieces() {
  for (let at = 0; at < BIG.length; at += 100_000) yield BIG.subarray(at, at + 100_000);
}

async function sums(options, expected) {
  const { body } = await request(`${url}/sum`, { method: 'POST', ...options });
  assert.deepStrictEqual(await body.json(), {
    length: expected.length,
    sha256: crypto.createHash('sha256').update(expected).digest('hex'),
  });
}

const CASES = {
  async bodies() {
    assert.strictEqual(await (await fetch(`${url}/hello`)).text(), 'hello');
    for (const bytes of [Buffer.alloc(0), Buffer.from('x'), BIG]) await sums({ body: bytes }, bytes);
    await sums({ body: pieces() }, BIG);
  },
  async big_answers() {
    for (const path of [`bytes/${BIG.length}`, `chunks/${BIG.length}`]) {
      const { body } = await request(`${url}/${path}`);
      assert.ok(BIG.equals(Buffer.from(await body.arrayBuffer())), path);
    }
  },
  async statuses() {
    for (const status of [200, 204, 304, 404, 418, 500, 503]) {
      for (const method of ['GET', 'HEAD', 'POST', 'DELETE']) {
        const { statusCode, body } = await request(`${url}/status/${status}`, { method });
        assert.deepStrictEqual([statusCode, await body.text()], [status, '']);
      }
    }
  },
  async both_ways_at_once() {
    let heard;
    async function* turns() {
      for (let turn = 0; turn < 5; turn += 1) {
        const echo = new Promise((resolve) => { heard = resolve; });
        yield `turn ${turn}`;
        await echo;
      }
    }
    const { body } = await request(`${url}/echo`, { method: 'POST', body: turns() });
    let turn = 0;
    for await (const chunk of body) {
      assert.strictEqual(chunk.toString(), `turn ${turn}`);
      turn += 1;
      heard();
    }
    assert.strictEqual(turn, 5);
  },
  async connections_are_kept() {
    const agent = new Agent({ connections: 1 });
    let opened = 0;
    agent.on('connect', () => { opened += 1; });
    for (let length = 0; length < 50; length += 1) {
      await sums({ dispatcher: agent, body: 'x'.repeat(length) }, Buffer.alloc(length, 'x'));
    }
    assert.strictEqual(opened, 1);
    await agent.close();
  },
  async pipelining() {
    const client = new Client(url, { pipelining: 20 });
    let opened = 0;
    client.on('connect', () => { opened += 1; });
    const numbers = [...Array(200).keys()].map((n) => n + 1);
    const answers = await Promise.all(numbers.map(async (number) => {
      const { body } = await client.request({ method: 'GET', path: `/bytes/${number}` });
      return (await body.text()).length;
    }));
    assert.deepStrictEqual(answers, numbers);
    assert.strictEqual(opened, 1);
    await client.close();
  },
  async many_at_once() {
    const agent = new Agent({ connections: 300 });
    const numbers = [...Array(300).keys()].map(String);
    const answers = await Promise.all(numbers.map(async (number) => {
      const { body } = await request(`${url}/echo`, { method: 'POST', body: number, dispatcher: agent });
      return body.text();
    }));
    assert.deepStrictEqual(answers, numbers);
    await agent.close();
  },
  async events() {
    const response = await fetch(`${url}/events/undici`);
    assert.strictEqual(response.headers.get('content-type'), 'text/event-stream');
    let number = 0;
    for await (const chunk of response.body) {
      number += 1;
      assert.strictEqual(Buffer.from(chunk).toString(), `id: ${number}\ndata: event ${number}\n\n`);
      assert.ok((await fetch(`${url}/next/undici`, { method: 'POST' })).ok);
    }
    assert.strictEqual(number, 3);
  },
  async websocket() {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`);
    socket.binaryType = 'arraybuffer';
    await once(socket, 'open');
    for (const message of ['grüße 🌊', BIG.subarray(0, 1 << 20)]) {
      const heard = once(socket, 'message');
      socket.send(message);
      const [{ data }] = await heard;
      assert.deepStrictEqual(typeof data === 'string' ? data : Buffer.from(data), message);
    }
    const end = once(socket, 'close');
    socket.close(4001, 'enough');
    const [{ code, reason, wasClean }] = await end;
    assert.deepStrictEqual([code, reason, wasClean], [4001, 'enough', true]);
  },
};

run(CASES);
