// Runs the cases of a client program and reports them as cases.md says.
'use strict';

const PATIENCE_MS = 20_000;

function deadline() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error('too slow')), PATIENCE_MS).unref();
  });
}

// `cases` maps names to async functions, which fail by throwing.
exports.run = async function run(cases) {
  for (const [name, attempt] of Object.entries(cases)) {
    let [ok, detail] = [true, ''];
    try {
      await Promise.race([attempt(), deadline()]);
    } catch (error) {
      [ok, detail] = [false, String(error.stack)];
      process.exitCode = 1;
    }
    console.log(JSON.stringify({ case: name, ok, detail }));
  }
  process.exit();
};

// Tells the test that something happened.
exports.say = function say(event) {
  console.log(JSON.stringify(event));
};

// Listens on a free port and tells the test which.
exports.listen = function listen(server) {
  server.listen(0, '127.0.0.1', () => exports.say({ port: server.address().port }));
};
