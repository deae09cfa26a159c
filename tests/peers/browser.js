// A page in headless Chromium that a test leads by the hand; see cases.md.
//
// usage: browser.js URL [CERT]
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');
const puppeteer = require('puppeteer-core');
const { say } = require('./cases');

const [url, cert] = process.argv.slice(2);

// The one key that the browser takes without knowing who signed it.
function pin() {
  const { publicKey } = new crypto.X509Certificate(fs.readFileSync(cert));
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return crypto.createHash('sha256').update(spki).digest('base64');
}

function fault(text) {
  say({ event: 'fault', text });
}

// What an order does; any other is an expression of the page's.
const ORDERS = {
  scheme: (page, value) => page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]),
  width: (page, value) => page.setViewport({ width: Number(value), height: 800 }),
  reload: (page) => page.reload().then(() => null),
  key: (page, value) => page.keyboard.press(value),
};

function obey(page, line) {
  const [word, value] = line.split(' ');
  return word in ORDERS ? ORDERS[word](page, value) : page.evaluate(line);
}

async function visit(page) {
  try {
    await page.goto(url);
    return { event: 'loaded' };
  } catch (error) {
    return { event: 'refused', error: error.message };
  }
}

async function main() {
  const browser = await puppeteer.launch({
    executablePath: '/usr/bin/chromium',
    // It ends with this program then, however that ends.
    pipe: true,
    args: [
      '--no-sandbox',
      '--no-proxy-server',
      '--disable-dev-shm-usage',
      ...(cert ? [`--ignore-certificate-errors-spki-list=${pin()}`] : []),
    ],
  });
  const page = await browser.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error') fault(message.text());
    else console.error(message.text());
  });
  page.on('pageerror', (error) => fault(error.message));
  say(await visit(page));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      say({ event: 'value', value: (await obey(page, line)) ?? null });
    } catch (error) {
      say({ event: 'value', error: error.message });
    }
  }
  await browser.close();
}

main();
