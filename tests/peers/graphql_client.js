// GraphQL client on the `graphql-ws` library that runs every case of cases.md; what a right client
// never does is done on a bare `ws`.
//
// usage: graphql_client.js URL
'use strict';

const assert = require('assert');
const { once } = require('events');
const { createClient } = require('graphql-ws');
const WebSocket = require('ws');
const { run } = require('./cases');

const url = `${process.argv[2]}/graphql`;

function client(options = {}) {
  return createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, ...options });
}

async function collect(results) {
  const all = [];
  for await (const { data } of results) all.push(Object.values(data)[0]);
  return all;
}

// The code that the server closes with once it has heard these messages.
async function closeCode(...messages) {
  const socket = new WebSocket(url, 'graphql-transport-ws');
  const end = once(socket, 'close');
  await once(socket, 'open');
  assert.strictEqual(socket.protocol, 'graphql-transport-ws');
  for (const message of messages) {
    socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    // The server may take other messages before its answer to this one as too early.
    if (message === INIT) await Promise.race([once(socket, 'message'), end]);
  }
  return (await end)[0];
}

const INIT = { type: 'connection_init' };
const FOREVER = { id: '1', type: 'subscribe', payload: { query: 'subscription { forever }' } };

const CASES = {
  async query() {
    const graphql = client();
    const query = 'query ($a: Int!, $b: Int!) { sum(a: $a, b: $b) }';
    const results = graphql.iterate({ query, variables: { a: 40, b: 2 } });
    assert.deepStrictEqual(await collect(results), [42]);
    await graphql.dispose();
  },
  async subscription_completes() {
    const graphql = client();
    const results = graphql.iterate({ query: 'subscription { countdown(from: 100) }' });
    const expected = [...Array(101).keys()].reverse();
    assert.deepStrictEqual(await collect(results), expected);
    await graphql.dispose();
  },
  async subscriptions_side_by_side() {
    const graphql = client();
    const counts = [1, 2, 3, 4, 5].map((from) => collect(
      graphql.iterate({ query: `subscription { countdown(from: ${from}) }` }),
    ));
    const lengths = (await Promise.all(counts)).map((count) => count.length);
    assert.deepStrictEqual(lengths, [2, 3, 4, 5, 6]);
    await graphql.dispose();
  },
  async unsubscribing() {
    const graphql = client();
    const results = graphql.iterate({ query: 'subscription { forever }' });
    assert.deepStrictEqual((await results.next()).value.data.forever, 0);
    await results.return();
    await graphql.dispose();
  },
  async close_4400_bad_request() {
    assert.strictEqual(await closeCode('no JSON at all'), 4400);
  },
  async close_4401_unauthorized() {
    assert.strictEqual(await closeCode(FOREVER), 4401);
  },
  async close_4403_forbidden() {
    assert.strictEqual(await closeCode({ ...INIT, payload: { token: 'wrong' } }), 4403);
  },
  async close_4408_initialisation_timeout() {
    assert.strictEqual(await closeCode(), 4408);
  },
  async close_4409_subscriber_already_exists() {
    assert.strictEqual(await closeCode(INIT, FOREVER, FOREVER), 4409);
  },
  async close_4429_too_many_initialisations() {
    assert.strictEqual(await closeCode(INIT, INIT), 4429);
  },
  async close_4500_reaches_the_clients_own_error() {
    const graphql = client();
    const query = 'query Leave { sum(a: 1, b: 1) }';
    const failure = collect(graphql.iterate({ query, operationName: 'Leave' }));
    await assert.rejects(failure, { code: 4500, reason: 'as asked' });
  },
};

run(CASES);
