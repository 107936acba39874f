// Offers this machine as a runner (agents.md 8.1): `cargo xtask runner`.
import { spawn } from 'node:child_process';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const HELP = `Offer this machine as a runner: start a sandbox-agent server if none answers, open a tunnel to it unless an address is
given, register it and go on telling that it is there. SIGINT and SIGTERM end everything that was started.

Usage: cargo xtask runner

Environment: BASE_URL (http://127.0.0.1:8787), TOKEN (dev-token), RUNNER_ID (short name of this host), RUNNER_MAX_SESSIONS (1),
HEARTBEAT_INTERVAL_SEC (20), SANDBOX_AGENT_URL (http://127.0.0.1:2468), SANDBOX_AGENT_TOKEN, AUTO_START_SANDBOX_AGENT (1),
AUTO_START_CLOUDFLARED (1), RUNNER_BASE_URL (the address under which the service reaches the server: then no tunnel is
opened), ACCESS_CLIENT_ID and ACCESS_CLIENT_SECRET (a Cloudflare Access service token), CLOUDFLARED_ARGS.`;

const HEALTH_TRIES = 90;
const TUNNEL_TRIES = 60;
const TUNNEL = /https:\/\/[a-z0-9-]+\.trycloudflare\.com/g;

const say = (text) => console.error(`[runner] ${text}`);
const children = [];

/** What is registered. */
export function registration(env, baseUrl) {
  const body = {
    'runner-id': env.RUNNER_ID || os.hostname().split('.')[0] || 'local-runner',
    'base-url': baseUrl.replace(/\/$/, ''),
    'max-sessions': Number(env.RUNNER_MAX_SESSIONS || 1),
  };
  for (const [key, name] of [['agent-token', 'SANDBOX_AGENT_TOKEN'], ['access-client-id', 'ACCESS_CLIENT_ID'], ['access-client-secret', 'ACCESS_CLIENT_SECRET']]) {
    if (env[name]) body[key] = env[name];
  }
  return body;
}

/** Starts a program that ends with this one. */
function start(command, words, options) {
  const child = spawn(command, words, options);
  children.push(child);
  child.once('error', (error) => leave(1, error.message));
  return child;
}

function leave(code, text) {
  if (text) say(text);
  for (const child of children) child.kill('SIGTERM');
  process.exit(code);
}

async function main() {
  const { values: args } = parseArgs({ options: { help: { type: 'boolean', short: 'h', default: false } } });
  if (args.help) { console.log(HELP); return; }
  const env = process.env;
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => leave(0));
  const agentUrl = (env.SANDBOX_AGENT_URL || 'http://127.0.0.1:2468').replace(/\/+$/, '');
  const toAgent = { headers: env.SANDBOX_AGENT_TOKEN ? { authorization: `Bearer ${env.SANDBOX_AGENT_TOKEN}` } : {} };
  const healthy = async () => (await fetch(`${agentUrl}/v1/health`, toAgent).catch(() => null))?.ok ?? false;

  if (!await healthy()) {
    if ((env.AUTO_START_SANDBOX_AGENT ?? '1') !== '1') leave(1, `no sandbox-agent at ${agentUrl}`);
    const { hostname, port } = new URL(agentUrl);
    say(`starting sandbox-agent at ${agentUrl}`);
    start('cargo', ['xtask', 'sandbox-agent', '--host', hostname, '--port', port || '2468'], { stdio: 'inherit' });
    let tries = 0;
    while (!await healthy()) {
      if ((tries += 1) > HEALTH_TRIES) leave(1, `no sandbox-agent at ${agentUrl} after ${HEALTH_TRIES} s`);
      await sleep(1000);
    }
  }
  const baseUrl = env.RUNNER_BASE_URL || await tunnel(agentUrl, env);

  const base = (env.BASE_URL || 'http://127.0.0.1:8787').replace(/\/+$/, '');
  const post = (path, body) => fetch(base + path, { method: 'POST', headers: { authorization: `Bearer ${env.TOKEN || 'dev-token'}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const offer = registration(env, baseUrl);
  const register = async () => {
    const response = await post('/runners', offer);
    if (!response.ok) throw new Error(`POST /runners: ${response.status} ${await response.text()}`);
    say(`registered ${offer['runner-id']} at ${offer['base-url']}`);
  };
  await register();
  const active = async () => (await (await fetch(`${agentUrl}/v1/acp`, toAgent)).json()).servers.length;
  for (;;) {
    try {
      const response = await post(`/runners/${encodeURIComponent(offer['runner-id'])}/heartbeat`, { 'active-sessions': await active() });
      if (!response.ok) throw new Error(`heartbeat: ${response.status}`);
    } catch (error) {
      say(`${error.message}; registering again`);
      await register().catch((again) => say(again.message));
    }
    await sleep(Number(env.HEARTBEAT_INTERVAL_SEC || 20) * 1000);
  }
}

/** Opens a quick tunnel to the server; its address is the last one that cloudflared tells. */
async function tunnel(agentUrl, env) {
  if ((env.AUTO_START_CLOUDFLARED ?? '1') !== '1') leave(1, 'RUNNER_BASE_URL is not set, and no tunnel may be opened');
  const child = start('cloudflared', ['tunnel', '--url', agentUrl, ...(env.CLOUDFLARED_ARGS ?? '').split(/\s+/).filter(Boolean)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  // Its end is kept: an address is a line.
  for (const output of [child.stdout, child.stderr]) output.setEncoding('utf8').on('data', (text) => { log = (log + text).slice(-65_536); });
  for (let tries = 0; tries < TUNNEL_TRIES; tries += 1) {
    const address = log.match(TUNNEL)?.at(-1);
    if (address) return address;
    if (child.exitCode !== null) break;
    await sleep(1000);
  }
  return leave(1, `cloudflared told no address: ${log.split('\n').slice(-3).join(' ')}`);
}

if (process.argv[1] === import.meta.filename) await main().catch((error) => leave(1, error.message));
