// A conversation goes on in another sandbox (transcripts.md 6, "Real resume"): the built worker under workerd with D1, R2 and
// Durable Objects, the real sandbox-agent server, and an agent that refuses a conversation of which anything was changed.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Client, eventually, textOf } from './client.mjs';
import { SandboxAgent, Worker } from './processes.mjs';
import { tokenOf } from './run-tokens.mjs';

const env = { AGENT_KEEPS: '1' };
let agent; let worker; let client;

before(async () => {
  agent = await SandboxAgent.start({ env });
  worker = await Worker.start(agent.url, { env: { AGENT_PROMPT_POST_MS: '1000', AGENT_STOP_GRACE_MS: '500' } });
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await agent?.stop();
});

let session; let stream;

beforeEach(async () => {
  session = await client.create();
  stream = await session.stream();
});

afterEach(async () => { await stream.close(); });

/** Sends a prompt and waits for the end of its turn; gives what the agent said. */
async function turn(prompt) {
  const from = stream.cursors().at(-1) ?? 0;
  await session.say(prompt);
  const { data } = await stream.type('turn.completed', from);
  assert.equal(data['stop-reason'], 'end_turn');
  return textOf(await stream.type('item.completed', from));
}

/** Waits until a run is the one to go on from; gives its bytes. */
const kept = (run) => eventually(`${run} is kept`, async () => {
  const answer = await session.ask('GET', '/transcript');
  return answer.headers.get('x-snapshot-run-id') === run && answer.text;
});

/** The sandbox is gone, and another one, with nothing in it, answers at its address. */
async function move() {
  await agent.stop();
  const { port } = agent;
  agent = await SandboxAgent.start({ env, port });
}

/** The files of all conversations in the sandbox. */
function files() {
  const projects = path.join(agent.folder, '.claude/projects');
  if (!fs.existsSync(projects)) return [];
  return fs.readdirSync(projects).flatMap((name) => fs.readdirSync(path.join(projects, name)).map((file) => path.join(projects, name, file)));
}

test('the conversation goes on, byte for byte, and nothing of it is told twice', async () => {
  const word = crypto.randomUUID();
  await turn(`say noted ${word}`);
  await turn('say ä 😀');
  const text = await kept('run-2');
  await move();
  const said = await turn('recall');
  assert.equal(said, `say noted ${word} | say ä 😀 | recall`);
  assert.deepEqual(agent.told().filter((it) => it.load).map((it) => it.refused), [null]);
  const [file] = files();
  assert.ok(fs.readFileSync(file, 'utf8').startsWith(text), 'the other sandbox has what the first one wrote');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const events = await session.events();
  assert.equal(events.filter((event) => event.type === 'item.completed').length, 3);
  assert.ok(!events.some((event) => event.data?.update?.sessionUpdate === 'user_message_chunk'), 'what is told again is no news');
  assert.ok(events.some((event) => event.type === 'transcript.loaded' && event.data.run === 'run-2'));
  // And on, in a third one.
  await kept('run-3');
  await move();
  assert.match(await turn('recall'), new RegExp(`^say noted ${word} .* recall \\| recall$`));
});

test('an agent that died in the same sandbox goes on too, without what it had begun', async () => {
  await turn('say one');
  await kept('run-1');
  const from = stream.cursors().at(-1);
  await session.say('say lost; exit 3');
  await stream.type('agent.runtime.error', from);
  assert.equal(await turn('recall'), 'say one | recall');
});

test('a turn that left a tool without its result is not gone on from', async () => {
  await turn('say one');
  await kept('run-1');
  await turn('half; say two');
  const { data } = await stream.type('transcript.incomplete');
  assert.deepEqual(data, { run: 'run-2', error: 'a tool call without a result' });
  assert.equal((await session.ask('GET', '/transcript?run=run-2')).status, 200, 'it is there for people');
  await move();
  assert.equal(await turn('recall'), 'say one | recall');
});

test('an agent that refuses the conversation is told its end, and viewers are told that', async () => {
  await turn('say one');
  const text = await kept('run-1');
  // Whoever runs the agent stores something else for the turn that goes on.
  const from = stream.cursors().at(-1);
  await session.say('wait 1500; say two');
  await eventually('the turn runs', () => agent.prompts('wait 1500; say two') === 1);
  const stored = await fetch(`${worker.base}${session.path}/runs/run-2/transcript`, {
    method: 'PUT', body: await bundle(text.replace('say one', 'say 0ne')),
    headers: { authorization: `Bearer ${tokenOf(session.id, 2)}`, 'content-type': 'application/x-tar', 'x-terminal-status': 'completed' },
  });
  assert.equal(stored.status, 200, await stored.text());
  await stream.type('turn.completed', from);
  assert.equal((await stream.type('transcript.failed', from)).data.run, 'run-2');
  await move();
  assert.match(await turn('recall'), /recall$/);
  assert.deepEqual(agent.told().filter((it) => it.load).map((it) => it.refused), ['the conversation was changed']);
  await stream.type('transcript.load_failed', from);
  const prompt = agent.told().find((it) => it.text?.endsWith('recall'));
  assert.match(prompt.text, /User: say one\n\nYou: one\n\nUser: wait 1500; say two\n\nYou: two/);
  // The conversation that begins here is the one that is kept.
  await kept('run-3');
  assert.equal((await session.events()).filter((event) => event.type === 'transcript.load_failed').length, 1);
});

/** The stored bundle with another text in its only file. */
async function bundle(text) {
  const answer = await fetch(`${worker.base}${session.path}/transcript`, { headers: { authorization: `Bearer ${client.token}`, accept: 'application/x-tar' } });
  const tar = Buffer.from(await answer.arrayBuffer());
  const size = parseInt(tar.toString('latin1', 124, 135), 8);
  const manifest = JSON.parse(tar.toString('utf8', 512, 512 + size));
  manifest.files[0] = { ...manifest.files[0], size: Buffer.byteLength(text), sha256: crypto.createHash('sha256').update(text).digest('hex') };
  return archive([['manifest.json', JSON.stringify(manifest)], [manifest.files[0].path, text]]);
}

/** A tar archive. */
function archive(entries) {
  const blocks = entries.flatMap(([name, text]) => {
    const content = Buffer.from(text);
    const header = Buffer.alloc(512);
    // A long path is written in two parts.
    header.write(path.basename(name), 0);
    if (path.dirname(name) !== '.') header.write(path.dirname(name), 345);
    header.write('0000600\0', 100);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write('00000000000\0        0', 136);
    header.write('ustar\0' + '00', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

test('a conversation that was begun anew is not gone on with', async () => {
  await turn('say one');
  await kept('run-1');
  assert.deepEqual(await session.ok('DELETE', '/transcript'), { deleted: 1, epoch: 1 });
  assert.equal((await session.ask('GET', '/transcript')).status, 204);
  assert.equal(await turn('recall'), 'recall', 'the agent of the same sandbox has forgotten it too');
  await kept('run-2');
  await move();
  assert.equal(await turn('recall'), 'recall | recall');
});

test('a turn that says much is kept while it goes on', async () => {
  await session.say('stream 2500; wait 60000');
  // Long before the minute after which every unfinished turn is kept.
  const partial = await eventually('it is kept', async () => {
    const answer = await session.ask('GET', '/transcript?run=run-1');
    return answer.status === 200 && answer.text;
  });
  assert.match(partial, /"text":"stream 2500; wait 60000"/);
  assert.equal((await session.ask('GET', '/transcript')).status, 204, 'nobody goes on from it');
  await session.ok('POST', '/interrupt');
  await stream.type('turn.completed');
});

test('a conversation outlives the worker', async () => {
  await turn('say one');
  await kept('run-1');
  await worker.evict();
  stream = await session.stream({ lastEventId: stream.cursors().at(-1) });
  await move();
  assert.equal(await turn('recall'), 'say one | recall');
});
