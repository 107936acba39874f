// What the launcher tells the worker, and whoever starts it.
import test from 'node:test';
import assert from 'node:assert/strict';
import { agentsAddress, describeExposure, describeHandedOut, isLoopback, settingsFrom, urlHost } from './settings.mjs';

test('only loopback addresses are this machine alone', () => {
  for (const host of ['127.0.0.1', '127.8.9.10', '::1']) assert.ok(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'fe80::1', '127.evil.example', '::ffff:127.0.0.1']) assert.ok(!isLoopback(host), host);
  assert.equal(urlHost('::1'), '[::1]');
  assert.equal(urlHost('10.0.0.1'), '10.0.0.1');
});

test('who the peers are is not the environment\'s to say', () => {
  const env = { DB_SYNC_LOCAL_PEERS: 'loopback', DB_SYNC_LOCAL_AGENTS: 'starting', DB_SYNC_TRUSTED_PROXIES: 'loopback', HOME: '/root' };
  const settings = { A: 1, DB_SYNC_LOCAL_PEERS: 'any', DB_SYNC_LOCAL_AGENTS: 'none', DB_SYNC_TRUSTED_PROXIES: 'loopback' };
  assert.deepEqual(settingsFrom(env, { A: 1 }, '0.0.0.0'), settings);
  assert.equal(settingsFrom({}, {}, '127.0.0.1').DB_SYNC_LOCAL_PEERS, 'loopback');
});

test('the warning says what is open to whom', () => {
  const warn = (settings, host = '0.0.0.0') => describeExposure(settings, host, 8787, ['192.168.1.5', 'fe80::1']).join('\n');
  const secret = 'do-not-print';
  const token = warn({ DB_SYNC_AUTH_DRIVER: 'static', DB_SYNC_AUTH_TOKEN: secret, DB_SYNC_ADMIN_TOKEN: secret });
  assert.match(token, /http:\/\/192\.168\.1\.5:8787$/m);
  assert.match(token, /not encrypted/);
  assert.match(token, /open to everyone who has the token/);
  assert.match(token, /admin token/);
  assert.ok(!token.includes(secret));
  const none = warn({ DB_SYNC_AUTH_DRIVER: 'none', DB_SYNC_ALLOW_HOSTS: 'nas.local', DB_SYNC_TRUSTED_PROXIES: 'loopback' }, '::');
  assert.match(none, /http:\/\/192\.168\.1\.5:8787, http:\/\/\[fe80::1\]:8787$/m);
  assert.match(none, /EVERY PROGRAM/);
  assert.match(none, /loopback names, nas\.local alone: list 192\.168\.1\.5, \[fe80::1\] in DB_SYNC_ALLOW_HOSTS/);
  assert.match(none, /DB_SYNC_TRUSTED_PROXIES is ignored/);
  assert.match(warn({}, '192.168.1.5'), /open to their members/);
});

test('only agents on this machine may be starting', () => {
  const told = (url) => settingsFrom(url ? { AGENTS_SERVICE_URL: url } : {}, {}, '127.0.0.1').DB_SYNC_LOCAL_AGENTS;
  for (const url of ['http://127.0.0.1:8788', 'http://localhost:8788', 'http://[::1]:8788']) assert.equal(told(url), 'starting', url);
  for (const url of [undefined, 'http://192.168.1.5:8788', 'http://agents.example']) assert.equal(told(url), 'none', url);
});

test('an address of the agents worker that is none is named', () => {
  assert.equal(agentsAddress({}), null);
  assert.equal(agentsAddress({ AGENTS_SERVICE_URL: '' }), null);
  assert.equal(agentsAddress({ AGENTS_SERVICE_URL: 'http://127.0.0.1:8788' }).host, '127.0.0.1:8788');
  for (const wrong of ['8788', '127.0.0.1:8788', 'localhost:8788', 'https://agents.example', 'http://agents.example/path', 'ws://127.0.0.1:1']) {
    assert.throws(() => agentsAddress({ AGENTS_SERVICE_URL: wrong }), { message: `AGENTS_SERVICE_URL must be an address such as http://127.0.0.1:8788, not "${wrong}"` });
  }
});

test('each worker has its own settings of the environment', () => {
  const env = { E2B_API_KEY: 'e', GITHUB_APP_ID: '1', GITHUB_WEBHOOK_SECRET: 'w', GITHUB_TOKEN: 'personal', OPENAI_API_KEY: 'o', ASSET_LINK_SECRET: 's', COGNITO_ISSUER: 'i' };
  const names = (worker) => Object.keys(settingsFrom(env, {}, '127.0.0.1', worker)).filter((name) => name in env).sort();
  assert.deepEqual(names('sync'), ['ASSET_LINK_SECRET', 'COGNITO_ISSUER']);
  assert.deepEqual(names('agents'), ['COGNITO_ISSUER', 'E2B_API_KEY', 'GITHUB_APP_ID', 'GITHUB_WEBHOOK_SECRET', 'OPENAI_API_KEY']);
});

test('the agents worker gets the secrets that its connections name, and no others', () => {
  const named = (text, worker = 'agents') => {
    const env = { PG_SYNC_CONNECTIONS: text, SHAPES_SECRET: 's', OTHER_SECRET: 'o' };
    return Object.keys(settingsFrom(env, {}, '127.0.0.1', worker)).filter((name) => name in env);
  };
  const connections = JSON.stringify({ main: { url: 'https://shapes.example', secret_env: 'SHAPES_SECRET' }, plain: { url: 'https://other.example' }, odd: null });
  assert.deepEqual(named(connections), ['PG_SYNC_CONNECTIONS', 'SHAPES_SECRET']);
  assert.deepEqual(named(connections, 'sync'), []);
  for (const wrong of ['{', 'null', '[]', '7']) assert.deepEqual(named(wrong), ['PG_SYNC_CONNECTIONS'], wrong);
});

test('what sandboxes get to know is told by name', () => {
  assert.deepEqual(describeHandedOut({ OPENAI_API_KEY: '', E2B_API_KEY: 'secret' }), []);
  assert.deepEqual(describeHandedOut({ OPENAI_API_KEY: 'secret' }), ['given to every sandbox: OPENAI_API_KEY']);
});
