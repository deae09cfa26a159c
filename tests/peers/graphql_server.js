// GraphQL over WebSockets on the `graphql-ws` library; see cases.md.
//
// usage: graphql_server.js
'use strict';

const http = require('http');
const { buildSchema } = require('graphql');
const { CloseCode } = require('graphql-ws');
const { useServer } = require('graphql-ws/lib/use/ws');
const { WebSocketServer } = require('ws');
const { listen } = require('./cases');

const schema = buildSchema(`
  type Query { sum(a: Int!, b: Int!): Int! }
  type Subscription { countdown(from: Int!): Int!, forever: Int! }
`);

const roots = {
  query: { sum: ({ a, b }) => a + b },
  subscription: {
    async* countdown({ from }) {
      for (let left = from; left >= 0; left -= 1) yield { countdown: left };
    },
    // One value, and then a wait that only its subscriber ends.
    async* forever() {
      yield { forever: 0 };
      await new Promise(() => {});
    },
  },
};

const server = http.createServer();
const sockets = new WebSocketServer({
  server,
  path: '/graphql',
  handleProtocols: (offered) => (offered.has('graphql-transport-ws') ? 'graphql-transport-ws' : false),
});

useServer({
  schema,
  roots,
  connectionInitWaitTimeout: 200,
  // `false` is 4403 Forbidden, as the protocol has it.
  onConnect: ({ connectionParams }) => connectionParams?.token !== 'wrong',
  onSubscribe: ({ extra }, { payload }) => {
    if (payload.operationName === 'Leave') extra.socket.close(CloseCode.InternalServerError, 'as asked');
  },
}, sockets);

listen(server);
