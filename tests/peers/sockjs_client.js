// SockJS client that runs every case of cases.md.
//
// usage: sockjs_client.js URL TRANSPORT
'use strict';

const assert = require('assert');
const SockJS = require('sockjs-client');
const { run } = require('./cases');

const [url, transport] = process.argv.slice(2);

// SockJS has handlers where others have events: what was heard waits in a queue here.
function dial() {
  const session = new SockJS(`${url}/echo`, null, { transports: [transport] });
  const heard = [];
  const waiting = [];
  session.onmessage = ({ data }) => (waiting.length ? waiting.shift()(data) : heard.push(data));
  session.hear = () => (heard.length ? heard.shift() : new Promise((give) => { waiting.push(give); }));
  session.closed = new Promise((resolve) => { session.onclose = resolve; });
  return new Promise((resolve, reject) => {
    session.onopen = () => resolve(session);
    session.closed.then(({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`)));
  });
}

const CASES = {
  async transport() {
    const session = await dial();
    assert.strictEqual(session.transport, transport);
    session.close();
  },
  async text() {
    const session = await dial();
    for (const text of ['hello', 'grüße 🌊', '', 'x'.repeat(200_000)]) {
      session.send(text);
      assert.strictEqual(await session.hear(), text);
    }
    session.close();
  },
  async order() {
    const session = await dial();
    const texts = [...Array(100).keys()].map(String);
    texts.forEach((text) => session.send(text));
    for (const text of texts) assert.strictEqual(await session.hear(), text);
    session.close();
  },
  async close_from_server() {
    const session = await dial();
    session.send('close 3456 enough');
    const { code, reason } = await session.closed;
    assert.deepStrictEqual([code, reason], [3456, 'enough']);
  },
  async close_from_client() {
    const session = await dial();
    session.close(3001, 'goodbye');
    const { code, reason } = await session.closed;
    assert.deepStrictEqual([code, reason], [3001, 'goodbye']);
  },
};

run(CASES);
