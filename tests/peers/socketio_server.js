// socket.io server; see cases.md.
//
// usage: socketio_server.js NAME
'use strict';

const http = require('http');
const { Server } = require('socket.io');
const { listen, say } = require('./cases');

const [name] = process.argv.slice(2);
const server = http.createServer();
const io = new Server(server, { maxHttpBufferSize: 1 << 23 });

io.on('connection', (socket) => {
  const { conn } = socket;
  const transport = () => conn.transport.name;
  const forwarded = socket.handshake.headers['x-forwarded-for'];
  say({ event: 'connection', transport: transport(), forwarded });
  socket.emit('welcome', name);
  socket.on('echo', (payload, done) => done(payload));
  socket.on('transport', (done) => done(transport()));
  socket.on('join', async (room, done) => {
    await socket.join(room);
    done();
  });
  socket.on('shout', (room, text) => io.to(room).emit('heard', text));
  socket.on('ask me', async (done) => done(await socket.timeout(10_000).emitWithAck('question', 6, 7)));
  socket.on('leave', () => socket.disconnect(true));
  conn.on('upgrade', () => say({ event: 'upgrade', transport: transport() }));
});

io.of('/private').on('connection', (socket) => {
  socket.emit('welcome', `${name} in private`);
});

listen(server);
