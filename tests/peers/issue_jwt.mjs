// Issues a token of every algorithm with the library `jose`: keys go into the directory that is
// named, tokens to standard output, one JSON object per line.

import { writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { SignJWT, exportSPKI, generateKeyPair } from "jose";

const directory = process.argv[2];

async function makeKey(alg) {
  const file = join(directory, alg);
  if (alg.startsWith("HS")) {
    const secret = randomBytes(64).toString("base64url");
    writeFileSync(file, `${secret}\n`);
    return new TextEncoder().encode(secret);
  }
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  writeFileSync(file, await exportSPKI(publicKey));
  return privateKey;
}

for (const alg of process.argv.slice(3)) {
  const token = await new SignJWT({ role: "tester" })
    .setProtectedHeader({ alg, typ: "JWT" })
    .setSubject("ann")
    .setIssuer("jose")
    .setAudience(["chat", "games"])
    .setIssuedAt()
    .setNotBefore("0s")
    .setExpirationTime("1h")
    .sign(await makeKey(alg));
  console.log(JSON.stringify({ alg, token }));
}
