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

// Listens on a free port and tells the test which, or on the unix socket at `path`.
exports.listen = function listen(server, path) {
  const place = path ? { path } : { port: 0, host: '127.0.0.1' };
  server.listen(place, () => exports.say(path ? { path } : { port: server.address().port }));
};
