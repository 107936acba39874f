// Both workers on one port: the sync worker forwards sessions through its service binding.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, textOf } from './client.mjs';
import { SandboxAgent, Worker } from './processes.mjs';

let agent; let worker; let client;

before(async () => {
  agent = await SandboxAgent.start();
  worker = await Worker.start(agent.url, { workers: ['sync', 'agents'] });
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await agent?.stop();
});

test('graphs and sessions are served on one port', async () => {
  assert.equal((await client.ask('GET', '/graphs')).status, 200);
  const graph = await client.ask('POST', '/graphs', { 'graph-name': 'shared', 'schema-version': '65', 'graph-e2ee?': false });
  assert.equal(graph.status, 200, graph.text);
  const project = { id: 'project', title: 'Project', 'repo-url': 'https://github.com/acme/project', 'graph-id': graph.body['graph-id'] };
  const session = await client.create({ project });
  const stream = await session.stream();
  await session.say('say through both');
  assert.equal(textOf(await stream.type('item.completed')), 'through both');
  await stream.close();
});

test('what belongs to the agents worker is answered by it, what does not is not', async () => {
  for (const path of ['/sessions', '/runners', '/auth/chatgpt/status']) {
    assert.equal((await client.ask('GET', path)).status, 200, path);
    assert.equal((await fetch(worker.base + path)).status, 401, path);
  }
  assert.equal((await client.ask('GET', '/sessions/not-there')).status, 404);
  assert.equal((await client.ask('GET', '/__session__/status')).status, 404);
});
