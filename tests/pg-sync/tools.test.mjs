// Tools of agents (pg-sync.md 4.12), as the official client of the Model Context Protocol sees them, against the built worker under workerd, a real PostgreSQL and the stand-in of
// the shape service; and as an agent behind the real sandbox-agent server uses them.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { Client as McpClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Client, eventually } from '../agents/client.mjs';
import { SandboxAgent, Worker } from '../agents/processes.mjs';
import { Canaries, filesBelow } from '../agents/secrets.mjs';
import { SERVICE_SECRET, harness } from './harness.mjs';

let agents;
let worker;
let client;
const these = harness(async () => {
  agents = await SandboxAgent.start({ env: { AGENT_TOOLS: '1' } });
  worker = await Worker.start(agents.url, {
    env: {
      PG_SYNC_CONNECTIONS: JSON.stringify({ main: { url: these.url, secret_env: 'SHAPES_SECRET', poll_ms: 200 }, few: { url: these.url, tables: ['public.no_other'] } }),
      SHAPES_SECRET: SERVICE_SECRET, RUN_TOKEN_KEYS: `k1:${crypto.randomBytes(32).toString('base64')}`, PG_SYNC_ALLOW_PRIVATE: '127.0.0.0/8',
    },
  });
  client = new Client(worker.base);
});
const { sql } = these;

after(async () => { await worker?.stop(); await agents?.stop(); });

/** What the agent of the last session was told of. */
const offered = () => agents.told().filter(({ servers }) => servers).at(-1).servers;

/** The official client, connected to the tools that were offered last. */
async function connect(server = offered()[0]) {
  const headers = Object.fromEntries(server.headers.map(({ name, value }) => [name, value]));
  const transport = new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers } });
  const mcp = new McpClient({ name: 'test', version: '1' });
  await mcp.connect(transport);
  return { mcp, transport, headers, url: server.url };
}

/** The result of a tool, as the client checked it against the tool's schema. */
async function call(mcp, name, args) {
  const { structuredContent, content, isError } = await mcp.callTool({ name, arguments: args });
  if (isError) return { refused: JSON.parse(content[0].text) };
  assert.deepEqual(JSON.parse(content[0].text), structuredContent);
  return structuredContent;
}

test('the official client connects, lists, observes, reads and ends', async () => {
  const table = await these.table('id int PRIMARY KEY, n int');
  const session = await client.create();
  assert.deepEqual((await session.ok('GET', '')).tools, { offered: true });
  const [server, ...others] = offered();
  assert.deepEqual([server.type, server.name, others.length], ['http', 'logseq', 0]);
  assert.equal(server.url, `${worker.base}${session.path}/mcp`);
  const { mcp, transport } = await connect(server);
  assert.equal(transport.sessionId, undefined);
  assert.deepEqual(mcp.getServerCapabilities(), { tools: {} });
  assert.equal(mcp.getServerVersion().name, 'logseq');
  await mcp.ping();
  const { tools } = await mcp.listTools();
  assert.deepEqual(tools.map(({ name }) => name), ['observe_pg_sync', 'unobserve_pg_sync', 'list_pg_changes']);
  const observed = await call(mcp, 'observe_pg_sync', { connection: 'main', table, wake: { ops: ['insert', 'update'], debounceMs: 0 } });
  assert.deepEqual(observed.wake, { ops: ['insert', 'update'], debounceMs: 0 });
  await sql(`INSERT INTO ${table} VALUES (1, 7)`);
  const page = await eventually('the change', async () => {
    const read = await call(mcp, 'list_pg_changes', { source_id: observed.source_id });
    return read.changes.length > 0 && read;
  });
  assert.deepEqual(page.changes.map(({ operation, value }) => [operation, value]), [['insert', { id: '1', n: '7' }]]);
  assert.deepEqual((await call(mcp, 'list_pg_changes', { source_id: observed.source_id, after: page.next_after, limit: 10 })).changes, []);
  const listed = await call(mcp, 'unobserve_pg_sync', {});
  assert.deepEqual([listed.removed, listed.observations.map(({ source_id: id }) => id)], [false, [observed.source_id]]);
  assert.deepEqual(await call(mcp, 'unobserve_pg_sync', { table }), { removed: true });
  assert.deepEqual(await call(mcp, 'unobserve_pg_sync', { table }), { refused: { error: 'not found' } });
  await mcp.close();
});

test('what is refused is a result, what is wrong an error of the protocol', async () => {
  await client.create();
  const { mcp } = await connect();
  assert.deepEqual(await call(mcp, 'observe_pg_sync', { connection: 'none', table: 't' }), { refused: { error: 'connection_not_found' } });
  assert.deepEqual(await call(mcp, 'observe_pg_sync', { connection: 'few', table: 't' }), { refused: { error: 'table_not_allowed' } });
  const { refused } = await call(mcp, 'observe_pg_sync', { connection: 'main', table: 'no_such_table' });
  assert.deepEqual([refused.error, refused.status], ['probe_failed', 400]);
  for (const [name, args, code, said] of [
    ['observe_pg_sync', { connection: 'main' }, -32602, /table/], ['observe_pg_sync', { connection: 'main', table: 't', wake: { timeoutMs: 1 } }, -32602, /wake\.timeoutMs/],
    ['list_pg_changes', { source_id: 'x', wait: 5 }, -32602, /wait/], ['none', {}, -32602, /no such tool/],
  ]) await assert.rejects(mcp.callTool({ name, arguments: args }), (error) => error.code === code && said.test(error.message), name);
  await assert.rejects(mcp.listPrompts(), () => true, 'nothing else is offered');
  await mcp.close();
});

test('the head of a request', async () => {
  const session = await client.create();
  const [{ headers: [{ value: authorization }], url }] = offered();
  const ping = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const ask = async (init = {}, headers = {}) => {
    const response = await fetch(url, { method: 'POST', body: ping, ...init, headers: { authorization, accept: 'application/json, text/event-stream', 'content-type': 'application/json', ...headers } });
    return [response.status, await response.text(), response.headers];
  };
  assert.deepEqual((await ask()).slice(0, 2), [200, '{"id":1,"jsonrpc":"2.0","result":{}}']);
  for (const method of ['GET', 'DELETE', 'PUT']) {
    const [status, , headers] = await ask({ method, body: method === 'PUT' ? ping : undefined });
    assert.deepEqual([status, headers.get('allow')], [405, 'POST'], method);
  }
  for (const [headers, status] of [
    [{ accept: 'text/event-stream' }, 406], [{ origin: 'https://evil.example' }, 403], [{ origin: worker.base }, 200], [{ 'mcp-protocol-version': '2000-01-01' }, 400],
    [{ authorization: '' }, 401], [{ authorization: `${authorization}x` }, 401], [{ authorization: `Bearer ${client.token}` }, 401],
  ]) {
    const answer = await ask({}, headers);
    assert.equal(answer[0], status, JSON.stringify(headers));
    if (status === 401) assert.equal(answer[2].get('www-authenticate'), 'Bearer');
  }
  for (const [body, status] of [['{', 400], [`[${ping}]`, 400], [' '.repeat(65 * 1024), 413], ['{"jsonrpc":"2.0","method":"notifications/initialized"}', 202]]) {
    assert.equal((await ask({ body }))[0], status, body.slice(0, 60));
  }
  // The token opens three routes beside, and no others.
  const route = (method, tail) => fetch(`${worker.base}${session.path}${tail}`, { method, headers: { authorization } });
  assert.equal((await route('GET', '/pg-sync')).status, 200);
  for (const [method, tail] of [['GET', ''], ['GET', '/events'], ['GET', '/transcript'], ['POST', '/cancel'], ['DELETE', '']]) assert.equal((await route(method, tail)).status, 401, `${method} ${tail}`);
  // A cancelled session takes it no more.
  await session.ok('POST', '/cancel');
  assert.equal((await ask())[0], 401);
});

test('an agent observes by itself, and is woken', async () => {
  const table = await these.table('id int PRIMARY KEY, n int');
  const session = await client.create();
  const stream = await session.stream();
  const said = (text) => stream.until((event) => event.type === 'item.completed' && JSON.stringify(event.data).includes(text), text);
  await session.say(`call observe_pg_sync {"connection":"main","table":"${table}"}`);
  const { data } = await said('tool: {');
  const source = /source_id\\*":\\*"([0-9a-f]{32})/.exec(JSON.stringify(data))[1];
  await sql(`INSERT INTO ${table} VALUES (5, 6)`);
  const woken = await stream.until(({ type }) => type === 'pg_sync.change', 'the wake');
  assert.equal(woken.data.source_id, source);
  // The stand-in says back what it is sent.
  await said('pg-sync: 1 changes of the table');
  await session.say(`call unobserve_pg_sync {"source_id":"${source}"}`);
  await said('removed');
  assert.deepEqual((await session.ok('GET', '/pg-sync')).observations, []);
  await stream.close();
});

test('the token is in no event, no log and no file, though the agent says it', async () => {
  const session = await client.create();
  const [{ headers: [{ value }] }] = offered();
  const token = value.slice('Bearer '.length);
  const stream = await session.stream();
  const forms = [token, Buffer.from(token).toString('base64'), Buffer.from(token).toString('hex'), encodeURIComponent(`https://x/?token=${token}`)];
  for (const form of forms) {
    const from = stream.cursors().at(-1) ?? 0;
    fs.writeFileSync(path.join(agents.folder, 'show.sh'), `echo 'it is ${form} here'\n`);
    await session.say('run show.sh');
    await stream.type('turn.completed', from);
  }
  const shown = JSON.stringify(await session.events('?limit=10000')) + stream.frames.map(({ data }) => JSON.stringify(data)).join('\n');
  assert.match(shown, /\[redacted\]/);
  await stream.close();
  // The signature is what opens: in none of its forms, wherever something is kept.
  const canaries = new Canaries({ token, signature: token.split('.')[2] });
  assert.deepEqual(canaries.found({ shown, log: worker.output, ...filesBelow(worker.data) }), []);
});
