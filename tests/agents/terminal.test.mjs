// A browser's terminal from end to end: a socket to the built worker, a real shell in a sandbox of E2B's stand-in.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { eventually } from './client.mjs';
import { members } from './e2b/tree.mjs';
import { TOKEN } from './processes.mjs';
import { Sandboxed, turn, unique } from './sandboxed.mjs';

let it;

before(async () => { it = await Sandboxed.start(); });

after(() => it?.stop());

/** A viewer's end: what was shown, what was told, and how it ended. */
class Terminal {
  constructor(session, query = '') {
    this.shown = '';
    this.told = [];
    this.socket = new WebSocket(`${it.worker.base.replace('http', 'ws')}${session.path}/terminal?token=${TOKEN}${query}`);
    this.socket.on('message', (bytes, isBinary) => {
      if (isBinary) this.shown += bytes.toString('utf8');
      else this.told.push(JSON.parse(bytes.toString('utf8')));
    });
    this.closed = new Promise((resolve) => { this.socket.once('close', (code) => resolve(code)); });
    this.socket.on('error', (error) => { this.error = error; });
  }

  ready() {
    return eventually('the terminal is ready', () => {
      if (this.error) throw this.error;
      return this.told.some(({ type }) => type === 'ready');
    });
  }

  shows(pattern) {
    return eventually(`${pattern} on the screen`, () => pattern.test(this.shown));
  }

  type(text) {
    this.socket.send(Buffer.from(text));
  }

  tell(message) {
    this.socket.send(JSON.stringify(message));
  }
}

/** Shells of the session's sandbox that have a terminal. */
const shells = async (session) => [...it.sandbox(session).processes.values()].filter(({ isTerminal }) => isTerminal).length;

test('a person works in the sandbox of a session', async () => {
  const session = await it.create();
  const terminal = new Terminal(session, '&cols=90&rows=20');
  await terminal.ready();
  terminal.type('stty size\n');
  await terminal.shows(/\b20 90\r\n/);
  terminal.tell({ type: 'resize', cols: 100, rows: 30 });
  terminal.tell({ type: 'input', data: 'stty size\n' });
  await terminal.shows(/\b30 100\r\n/);
  terminal.type('echo "from a person" > ~/by-hand; echo wrote\n');
  await terminal.shows(/[\r\n]wrote\r\n/);
  assert.equal(fs.readFileSync(it.sandbox(session).path('by-hand'), 'utf8'), 'from a person\n');
  // Much output comes as it is.
  terminal.type('seq 1 20000; echo end-of-it\n');
  await terminal.shows(/[\r\n]20000\r\nend-of-it\r\n/);
  terminal.type('exit 3\n');
  assert.equal(await terminal.closed, 1000);
  assert.deepEqual(terminal.told.at(-1), { type: 'exit', code: 3 });
  assert.ok((await session.events()).some(({ type }) => type === 'session.terminal.closed'));
});

test('whoever goes away leaves no shell', async () => {
  const session = await it.create();
  const terminal = new Terminal(session);
  await terminal.ready();
  assert.equal(await shells(session), 1);
  terminal.type('sleep 1000\n');
  await terminal.shows(/sleep 1000/);
  terminal.socket.terminate();
  await eventually('its shell is gone', async () => await shells(session) === 0);
});

test('a terminal and a turn do not disturb each other, and a canceled session ends its terminals', async () => {
  const session = await it.create();
  const stream = await session.stream();
  const terminal = new Terminal(session);
  await terminal.ready();
  assert.equal((await turn(session, stream, unique('tool'))).data['stop-reason'], 'end_turn');
  terminal.type('echo still here\n');
  await terminal.shows(/[\r\n]still here\r\n/);
  const own = it.sandbox(session);
  await session.ok('POST', '/cancel');
  assert.equal(await terminal.closed, 1001);
  await eventually('it is paused', () => own.state === 'paused');
  await eventually('nothing in it runs', async () => (await members(own.id)).every(({ stopped }) => stopped));
  assert.equal(await shells(session), 0);
  await stream.close();
});

test('a worker that died left a shell, which its next life ends', async () => {
  const session = await it.create();
  const terminal = new Terminal(session);
  await terminal.ready();
  await it.worker.evict();
  await terminal.closed;
  assert.equal(await shells(session), 1);
  await session.status();
  await eventually('its shell is gone', async () => await shells(session) === 0);
  await eventually('it is told', async () => (await session.events()).some(({ type, data }) => type === 'session.terminal.closed' && data.reason === 'interrupted'));
});
