// The scripts of agents.md 8, as far as they are functions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kill, list } from './kill-sandboxes.mjs';
import { calls } from './smoke.mjs';

test('the smoke session is the documented one', () => {
  const { base, token, create, stream } = calls({ SESSION_ID: 'a b', BASE_URL: 'http://localhost:1/' }, { message: 'm', agent: 'codex' });
  assert.deepEqual([base, token, stream], ['http://localhost:1', 'dev-token', '/sessions/a%20b/stream']);
  assert.deepEqual(create.agent, { provider: 'codex', mode: 'build', 'permission-mode': 'default' });
  assert.equal(create['node-id'], 'task-node-1');
});

/** An account with three sandboxes on two pages, of which one goes by itself. */
function account() {
  const asked = [];
  const api = async (path, { method = 'GET' } = {}) => {
    asked.push(`${method} ${path}`);
    if (method === 'DELETE') return new Response(null, { status: path.endsWith('/gone') ? 404 : 204 });
    const second = path.includes('nextToken=more');
    const page = second ? [{ sandboxID: 'gone' }] : [{ sandboxID: 'a/b' }, { sandboxID: 'c' }];
    return Response.json(page, { headers: second ? {} : { 'x-next-token': 'more' } });
  };
  return { api, asked };
}

test('all pages are listed, and what has gone is no error', async () => {
  const { api, asked } = account();
  const found = (await list(api, 'paused')).map(({ sandboxID }) => sandboxID);
  assert.deepEqual(found, ['a/b', 'c', 'gone']);
  assert.deepEqual(await kill(api, found, () => {}), { killed: 2, gone: 1 });
  assert.equal(asked[0], 'GET /v2/sandboxes?state=paused&limit=100');
  assert.equal(asked[2], 'DELETE /sandboxes/a%2Fb');
});

test('a refused kill is told', async () => {
  await assert.rejects(kill(async () => new Response('no', { status: 401 }), ['x'], () => {}), /killing x: 401 no/);
});
