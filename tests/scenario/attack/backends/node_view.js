// SPDX-License-Identifier: Apache-2.0
'use strict';
// A server of Node's own modules that says what it takes each request to be: node_view.js PORT LOG.
// A line of JSON for each request in LOG: every way in which http, url and path read its path, its
// host and the header x-role.
const fs = require('fs');
const http = require('http');
const path = require('path');
const querystring = require('querystring');
const url = require('url');

const log = fs.openSync(process.argv[3], 'a');

function attempt(read) {
  try {
    return read() ?? '';
  } catch {
    return '';
  }
}

function paths(request) {
  const raw = request.url.split('?')[0];
  const host = request.headers.host ?? 'x';
  const whatwg = attempt(() => new URL(request.url, `http://${host}`).pathname);
  const joined = attempt(() => new URL(`http://${host}${request.url}`).pathname);
  const legacy = attempt(() => url.parse(request.url).pathname);
  const found = [raw, whatwg, joined, legacy];
  for (const one of [...found]) {
    for (const decode of [decodeURIComponent, querystring.unescape]) {
      const decoded = attempt(() => decode(one));
      found.push(decoded, decoded && path.posix.normalize(decoded));
    }
  }
  return found;
}

function hosts(request) {
  const host = request.headers.host ?? '';
  return [host, attempt(() => new URL(`http://${host}`).hostname), attempt(() => new URL(request.url, `http://${host}`).hostname)];
}

function roles(request) {
  const found = [request.headers['x-role'] ?? '', attempt(() => new Headers([['x-role', request.headers['x-role'] ?? '']]).get('x-role'))];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    if (request.rawHeaders[i].toLowerCase() === 'x-role') {
      found.push(request.rawHeaders[i + 1], request.rawHeaders[i + 1].trim());
    }
  }
  return found;
}

const server = http.createServer((request, response) => {
  let body = 0;
  request.on('data', (part) => { body += part.length; });
  request.on('end', () => {
    fs.writeSync(log, JSON.stringify({
      method: request.method, target: request.url, paths: paths(request), hosts: hosts(request), roles: roles(request),
      id: request.headers['x-request-id'], case: request.headers['x-case'], body,
    }) + '\n');
    response.setHeader('X-Case', attempt(() => request.headers['x-case']) || '-');
    response.end();
  });
});
server.listen({port: Number(process.argv[2]), host: '0.0.0.0', backlog: 1024});
