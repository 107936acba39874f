// `https://github.com` on this machine: a proxy that lets in connections to that host alone, with a certificate of its own. git uses it
// by its settings `http.proxy` and `http.sslCAInfo`, so that what it asks for, and whom it asks for credentials, is the real address.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';

const HOST = 'github.com';

const listening = async (server) => {
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return server.address().port;
};

/** Serves `answer(request, response)` as GitHub; `folder` gets key and certificate. */
export async function serveTls(folder, answer) {
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(folder, name));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${HOST}`,
    '-addext', `subjectAltName=DNS:${HOST}`, '-keyout', key, '-out', cert,
  ], { stdio: 'ignore' });
  const inner = https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, answer);
  const port = await listening(inner);
  /** Hosts that were asked for. */
  const asked = [];
  const proxy = http.createServer((_, response) => response.writeHead(403).end());
  proxy.on('connect', (request, socket) => {
    asked.push(request.url);
    socket.on('error', () => {});
    if (request.url !== `${HOST}:443`) return void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    const there = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      there.pipe(socket).pipe(there);
    });
    there.on('error', () => socket.destroy());
    socket.on('close', () => there.destroy());
  });
  const url = `http://127.0.0.1:${await listening(proxy)}`;
  const stop = async () => {
    for (const server of [inner, proxy]) {
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    }
  };
  return { proxy: url, certificate: cert, asked, stop };
}
