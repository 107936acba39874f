// One session from end to end (agents.md 8.4): `cargo xtask smoke`.
import { parseArgs } from 'node:util';

const HELP = `Create a session, send it a message and print what comes on its event stream until the turn ends.

Usage: cargo xtask smoke [--message TEXT] [--agent NAME] [--follow]

  --message TEXT   what the agent is told (default: Tell me the weather today in Hangzhou.)
  --agent NAME     provider of the agent (default: codex)
  --follow         go on printing after the end of the turn

Environment: BASE_URL (http://127.0.0.1:8787), TOKEN (dev-token), SESSION_ID (p2). Ends with 1 when a call is refused or the
agent fails. In dev: DB_SYNC_AUTH_DRIVER=static DB_SYNC_AUTH_TOKEN=dev-token AGENT_RUNTIME_PROVIDER=local-dev cargo xtask dev,
and beside it cargo xtask sandbox-agent.`;

/** The three calls, for an environment. */
export function calls(env, { message, agent }) {
  const id = env.SESSION_ID || 'p2';
  const path = `/sessions/${encodeURIComponent(id)}`;
  return {
    base: (env.BASE_URL || 'http://127.0.0.1:8787').replace(/\/+$/, ''),
    token: env.TOKEN || 'dev-token',
    create: {
      'session-id': id, 'node-id': 'task-node-1', 'node-title': 'Check weather in Hangzhou', content: message, attachments: [],
      project: { id: 'project-weather', title: 'Weather Demo', 'repo-url': 'https://github.com/logseq/logseq' },
      agent: { provider: agent, mode: 'build', 'permission-mode': 'default' },
    },
    messages: `${path}/messages`,
    say: { message, kind: 'user' },
    stream: `${path}/stream`,
  };
}

async function main() {
  const { values: args } = parseArgs({ options: {
    message: { type: 'string', default: 'Tell me the weather today in Hangzhou.' }, agent: { type: 'string', default: 'codex' },
    follow: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false },
  } });
  if (args.help) { console.log(HELP); return; }
  const { base, token, create, messages, say, stream } = calls(process.env, args);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const post = async (path, body) => {
    const response = await fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`);
    console.log(`POST ${path}: ${text}`);
  };
  await post('/sessions', create);
  const response = await fetch(base + stream, { headers });
  if (!response.ok) throw new Error(`GET ${stream}: ${response.status} ${await response.text()}`);
  await post(messages, say);
  let text = ''; let failed = false;
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).split('\n').find((line) => line.startsWith('data:'))?.slice(5).trim();
      if (!data) continue;
      console.log(data);
      const { type, ts } = JSON.parse(data);
      // Of an earlier run of the same session, if there was one.
      if (ts < started) continue;
      failed ||= type === 'agent.runtime.error';
      if (!args.follow && ['turn.completed', 'agent.runtime.error'].includes(type)) { process.exitCode = failed ? 1 : 0; process.exit(); }
    }
  }
}

const started = Date.now();
if (process.argv[1] === import.meta.filename) await main().catch((error) => { console.error(`error: ${error.message}`); process.exit(1); });
