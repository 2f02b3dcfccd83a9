// An application that reads two files which belong together, at its start and on SIGHUP.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const [volume, pidFile, confirmed, port] = process.argv.slice(2);

// The files of one generation, and its number. Node has no `openat`: the link is resolved once, and every
// path is made from its answer. Should the generation be gone by then, there is a newer one.
function readTogether(names) {
  for (let attempt = 0; ; attempt++) {
    const generation = fs.readlinkSync(path.join(volume, '..data'));
    try {
      const files = names.map((name) => fs.readFileSync(path.join(volume, generation, name), 'utf8'));
      return { number: generation.replace(/^\.\./, ''), files };
    } catch (error) {
      if (error.code !== 'ENOENT' || attempt === 3) throw error;
    }
  }
}

let api;

function load(why) {
  const { number, files: [url, token] } = readTogether(['api/url', 'api/token']);
  api = { url, token, number };
  console.log(`application: ${why} generation ${number}: ${url}, a token of ${token.length} characters`);
}

// A file that another process reads is written beside its place and renamed into it.
function confirm() {
  fs.writeFileSync(`${confirmed}.new`, api.number);
  fs.renameSync(`${confirmed}.new`, confirmed);
}

process.on('SIGHUP', () => {
  try {
    load('told, reads');
    confirm();
  } catch (error) {
    console.log(`application: told, but ${error.message}: going on with generation ${api.number}`);
  }
});

load('started with');
http
  .createServer((request, response) => response.end(`${JSON.stringify({ url: api.url, generation: api.number })}\n`))
  .listen(Number(port), '127.0.0.1', () => fs.writeFileSync(pidFile, String(process.pid)));
