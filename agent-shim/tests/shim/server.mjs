// A stand-in of the sandbox-agent server, as far as docs/spec/session-mailbox.md 4.7 tells of it: whose event stream breaks after each question of the
// agent's, and is opened again with the questions that were not answered, as new messages. The first of them is repeated at once, each later one
// after it was answered meanwhile: the answer and the new stream cross.
//
// server.mjs PORT TOKEN AGENT. Below HOME it writes `repeated`, a line for each repeat, and `answers`, the id of each answer.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';

const [port, token, program] = process.argv.slice(2);
const note = (name, text) => fs.appendFileSync(path.join(process.env.HOME, name), `${text}\n`);
const agent = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
let [stream, sequence, questions] = [null, 0, 0];
/** What no stream has had, and the question whose stream was broken. */
const waiting = [];
let broken = null;

const write = (line) => { sequence += 1; stream.write(`id: ${sequence}\nevent: message\ndata: ${line}\n\n`); };

function flush() {
  while (stream && waiting.length > 0) {
    const line = waiting.shift();
    write(line);
    const message = JSON.parse(line);
    if (message.method === 'session/request_permission') {
      questions += 1;
      broken = { line, id: message.id, isAnswered: false, isLate: questions > 1 };
      stream.end();
      stream = null;
    }
  }
}

function repeat() {
  if (!stream || !broken || (broken.isLate && !broken.isAnswered)) return;
  write(broken.line);
  note('repeated', broken.id);
  broken = null;
  flush();
}

readline.createInterface(agent.stdout).on('line', (line) => { waiting.push(line); if (!broken) flush(); });

http.createServer(async (request, response) => {
  if (request.headers.authorization !== `Bearer ${token}`) { response.writeHead(401).end(); return; }
  if (request.url === '/v1/health') { response.end('{}'); return; }
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    stream = response;
    if (broken) repeat(); else flush();
    return;
  }
  const body = (await request.setEncoding('utf8').toArray()).join('');
  const message = JSON.parse(body);
  agent.stdin.write(`${body}\n`);
  response.writeHead(202).end();
  if (message.method === undefined) {
    note('answers', message.id);
    if (broken?.id === message.id) { broken.isAnswered = true; repeat(); }
  }
}).listen(Number(port), '127.0.0.1');
