// The commands of docs/runner.md, "The first session by mailbox", in their order, as they stand there: real binaries, the built worker under workerd,
// and bubblewrap where it works. What fetches and builds is not run, and the agent is agent.mjs, by a configuration file.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Client, Session, eventually, textOf } from './client.mjs';
import { Machine, hasWalls } from './machine.mjs';
import { TOKEN, Worker, root } from './processes.mjs';

let worker; let machine;

before(async () => {
  worker = await Worker.start(null, { env: { RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}` } });
  machine = new Machine(worker.base);
});

after(async () => {
  await machine?.remove();
  await worker?.stop();
});

/** The blocks of shell of a chapter. */
function blocks(chapter) {
  const page = fs.readFileSync(path.join(root, 'docs/runner.md'), 'utf8');
  const text = page.slice(page.indexOf(`## ${chapter}\n`)).split('\n### ')[0];
  return text.split('```sh\n').slice(1).map((rest) => rest.split('\n```')[0]);
}

test('every command of the first session does what the page says', async () => {
  const [machines, users, ...more] = blocks('The first session by mailbox');
  assert.equal(more.length, 0);
  const [fetch, build, settings, doctor, run, ...others] = machines.split('\n');
  assert.match(fetch, /^npm install -g /);
  assert.match(build, /^cargo build --release -p logseq-runner -p agent-shim$/);
  assert.deepEqual(others, []);
  const here = path.join(machine.home, 'here');
  fs.mkdirSync(path.join(here, 'target'), { recursive: true });
  fs.symlinkSync(path.dirname(process.env.LOGSEQ_RUNNER), path.join(here, 'target/release'));
  const env = machine.variables(hasWalls() ? { AGENT_LOG: '/home/user/agent.log', STDIN_LOG: '/home/user/stdin.log' } : { RUNNER_DRIVER: 'plain' });
  const ours = settings.replace(/BASE_URL=\S+ TOKEN=\S+/, `BASE_URL=${worker.base} TOKEN=${TOKEN}`);
  assert.notEqual(ours, settings);
  const shell = (command) => promisify(execFile)('bash', ['-euc', `${ours}\n${command}`], { env, cwd: here });

  const { stdout } = await shell(doctor).catch((error) => { throw new Error(`${error.stdout}${error.stderr}`); });
  assert.match(stdout, /^ok /);
  assert.ok(!/^fail /m.test(stdout), stdout);
  machine.runner = spawn('bash', ['-euc', `${ours}\nexec ${run}`], { env, cwd: here, stdio: ['ignore', 'pipe', 'inherit'] });
  machine.ended = new Promise((resolve) => { machine.runner.once('exit', resolve); });
  const ready = await new Promise((resolve, reject) => {
    machine.runner.stdout.setEncoding('utf8').once('data', resolve);
    machine.ended.then((code) => reject(new Error(`the runner ended with ${code}`)));
  });
  assert.equal(ready, 'ready runner=workstation transport=mailbox\n');

  const [create, message, events] = users.split(/\n(?=curl )/);
  assert.equal(JSON.parse((await shell(create)).stdout)['session-id'], 'first');
  assert.deepEqual(JSON.parse((await shell(message)).stdout), { ok: true });
  const session = new Session(new Client(worker.base), 'first');
  await eventually('the turn ends', async () => (await session.events()).some(({ type }) => type === 'turn.completed'));
  const told = JSON.parse((await shell(events)).stdout).events;
  assert.equal(textOf(told.find(({ type }) => type === 'item.completed')), 'hello');
});
