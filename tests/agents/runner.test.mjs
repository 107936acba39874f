// A runner from end to end in transport `tunnel`: the real binary starts the real sandbox-agent, registers with the worker under
// workerd, and a session works on its machine. LOGSEQ_RUNNER names the binary.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Client, eventually } from './client.mjs';
import { SandboxAgent, TOKEN, Worker, sandboxAgentBin } from './processes.mjs';

const BINARY = process.env.LOGSEQ_RUNNER;
assert.ok(BINARY, 'LOGSEQ_RUNNER names the runner');

let agent; let worker; let client; let home; let runner;

before(async () => {
  // What it prepares is used; the server itself is the runner's to start.
  agent = await SandboxAgent.start();
  await agent.stop();
  fs.symlinkSync(sandboxAgentBin(), path.join(agent.folder, 'sandbox-agent'));
  home = fs.mkdtempSync(path.join(os.tmpdir(), 'runner-'));
  worker = await Worker.start(null, { env: { LOCAL_RUNNER_ALLOW_PRIVATE: '1' } });
  client = new Client(worker.base);
});

after(async () => {
  runner?.kill('SIGKILL');
  await worker?.stop();
  fs.rmSync(home, { recursive: true, force: true });
});

/** A runner that is ready. */
async function start() {
  runner = spawn(BINARY, ['run'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${agent.folder}:${process.env.PATH}`, HOME: home, XDG_DATA_HOME: path.join(home, 'data'), SANDBOX_AGENT_REQUIRE_PREINSTALL: '1', AGENT_LOG: agent.log,
      BASE_URL: worker.base, TOKEN, RUNNER_ID: 'workstation', RUNNER_MAX_SESSIONS: '2', HEARTBEAT_INTERVAL_SEC: '1', RUNNER_TRANSPORT: 'tunnel', RUNNER_BASE_URL: agent.url, SANDBOX_AGENT_URL: agent.url,
      RUNNER_WORKSPACE_DIR: path.join(home, 'work'),
    },
  });
  let log = '';
  runner.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const ready = await new Promise((resolve, reject) => {
    runner.stdout.setEncoding('utf8').once('data', resolve);
    runner.once('exit', (code) => reject(new Error(`the runner ended with ${code}: ${log}`)));
  });
  assert.equal(ready, 'ready runner=workstation transport=tunnel\n');
  return () => log;
}

const exit = () => new Promise((resolve) => runner.once('exit', resolve));
const registered = async () => (await client.ask('GET', '/runners')).body.runners.find((it) => it['runner-id'] === 'workstation');

test('a session works on the machine of a runner, and ends with it', async () => {
  await start();
  const known = await registered();
  assert.deepEqual([known.status, known['max-sessions'], known['active-sessions']], ['online', 2, 0]);
  const session = await client.create({ 'runtime-provider': 'local-runner', 'runner-id': 'workstation' });
  const stream = await session.stream();
  const prompt = 'say something; tool; write left.txt words';
  await session.say(prompt);
  await stream.type('turn.completed');
  assert.equal(agent.prompts(prompt), 1);
  const written = fs.readdirSync(path.join(home, 'work'), { recursive: true }).filter((name) => name.endsWith('left.txt'));
  assert.equal(written.length, 1, 'it worked in the folder that the runner named');
  await eventually('the runner tells how many sessions it has', async () => (await registered())['active-sessions'] === 1);
  await stream.close();
  const ended = exit();
  runner.kill('SIGTERM');
  assert.equal(await ended, 0);
  await assert.rejects(fetch(`${agent.url}/v1/health`), 'the sandbox-agent that it started is gone');
});

test('a runner outlives an outage of the worker, and one that was killed leaves nothing to the next', async () => {
  const log = await start();
  await worker.kill();
  await eventually('the runner notices', () => /heartbeat failed/.test(log()));
  await worker.run();
  await eventually('it is known again', async () => (await registered())?.status === 'online');
  const ended = exit();
  runner.kill('SIGKILL');
  await ended;
  assert.ok((await fetch(`${agent.url}/v1/health`)).ok, 'nobody could end it');
  const { pid } = JSON.parse(fs.readFileSync(path.join(home, '.local/state/logseq-runner/daemon.json'), 'utf8'));
  assert.equal(typeof pid, 'number');
  const again = await start();
  assert.match(again(), /ended \d+ processes that an earlier runner has left/);
  const session = await client.create({ 'runtime-provider': 'local-runner', 'runner-id': 'workstation' });
  const stream = await session.stream();
  await session.say('say after the death');
  await stream.type('turn.completed');
  await stream.close();
  const stopped = exit();
  runner.kill('SIGINT');
  assert.equal(await stopped, 0);
});
