// A canary in every slot in which a secret stands: settings of the worker, credentials of a session, a login, a runner, a webhook, tokens
// that are made on the way. They are looked for in events, streams, logs, answers, transcripts, and in arguments, environments and files
// of the sandbox, plain, in base64, in hexadecimal and in the form of URLs. Each place in which one may stand is named by
// docs/spec/agents.md.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { API_KEY } from './e2b-server.mjs';
import { members } from './e2b/tree.mjs';
import { GitHubServer } from './github-server.mjs';
import { Client } from './client.mjs';
import { Sandboxed, project, turn, unique } from './sandboxed.mjs';
import { Canaries, canary, filesBelow, processTexts } from './secrets.mjs';

const USER_TOKEN = canary('user-');
const settings = {
  DB_SYNC_AUTH_TOKEN: USER_TOKEN, DB_SYNC_ADMIN_TOKEN: canary('admin-'), MANAGED_AUTH_KEY: crypto.randomBytes(32).toString('base64'),
  RUN_TOKEN_KEYS: `k1:${crypto.randomBytes(32).toString('base64')}`, SANDBOX_AGENT_TOKEN: canary('agent-'), OPENAI_API_KEY: canary('sk-'), GITHUB_WEBHOOK_SECRET: canary('hook-'),
};
const login = { access: canary('access-'), refresh: canary('refresh-') };
const task = { api: canary('sk-ant-'), variable: canary('variable-'), file: canary('file-') };
const runner = { agent: canary('runner-'), id: canary('access-id-'), secret: canary('access-secret-') };
/** Everything that was answered, refusals included; answers that give out a secret by intention are left out. */
const answers = [];
let it; let hub; let client;

class Recording extends Client {
  async ask(...words) {
    const answer = await super.ask(...words);
    answers.push(`${[...answer.headers].join('\n')}\n${answer.text}`);
    return answer;
  }
}

before(async () => {
  hub = await GitHubServer.start({ tls: true });
  await hub.create('acme/project');
  it = await Sandboxed.start({ github: hub, env: { AGENT_GIT_CREDENTIALS: 'broker', ...settings } });
  client = new Recording(it.worker.base, USER_TOKEN);
  it.client = client;
});

after(async () => {
  await it?.stop();
  await hub?.stop();
});

const REPOSITORY = 'https://github.com/acme/project';

/** What git in a sandbox asks with. */
const runToken = (own) => /Bearer ([^"]+)/.exec(fs.readFileSync(own.path('.logseq-agents/git-broker'), 'utf8'))[1];

/** What opens the tools that agents of a sandbox were told of, as the stand-in of an agent has written it down. */
const toolTokens = (own) => [...fs.readFileSync(own.path('prompts.jsonl'), 'utf8').matchAll(/"Bearer ([^"]+)"/g)].map(([, token]) => token);

/** All secrets there are by now, by their slots. */
function secrets({ own = [], tokens = [], tools = [], webhook, observer }) {
  return {
    'user token': USER_TOKEN, 'admin token': settings.DB_SYNC_ADMIN_TOKEN, MANAGED_AUTH_KEY: settings.MANAGED_AUTH_KEY,
    RUN_TOKEN_KEYS: settings.RUN_TOKEN_KEYS.slice(3), SANDBOX_AGENT_TOKEN: settings.SANDBOX_AGENT_TOKEN, OPENAI_API_KEY: settings.OPENAI_API_KEY,
    GITHUB_WEBHOOK_SECRET: settings.GITHUB_WEBHOOK_SECRET, E2B_API_KEY: API_KEY,
    GITHUB_APP_PRIVATE_KEY: hub.privateKey.split('\n').slice(1, -2).filter((line) => line.length > 40), 'installation token': hub.tokens.map(({ text }) => text),
    'access token of the login': login.access, 'refresh token of the login': login.refresh, 'api-token': task.api, 'variable of the task': task.variable, 'auth-json': task.file,
    'token of a runner': runner.agent, 'access id of a runner': runner.id, 'access secret of a runner': runner.secret,
    'envd token': own.map(({ envdToken }) => envdToken), 'run token': tokens, 'tool token': tools, ...(webhook ? { 'webhook secret': webhook } : {}), ...(observer ? { 'viewing token': observer } : {}),
  };
}

/** Failures and odd requests of many kinds, each with a secret in it. */
async function provoke(session) {
  for (const [method, path, body] of [
    ['POST', '/messages', { message: 5, token: USER_TOKEN }], ['POST', '/messages', { text: task.api }], ['POST', '/pr', { 'create-pr': 'yes' }], ['POST', '/pr', { 'head-branch': 'a b' }],
    ['POST', '/approvals/none', { decision: 'granted' }], ['GET', `/events?since=x&token=${USER_TOKEN}`], ['GET', '/terminal'],
    ['POST', '/budget', { budget: {} }], ['GET', '/branches'], ['GET', '/branches?repo-url=https%3A%2F%2Fx%3Ay%40github.com%2Facme%2Fnone'], ['GET', `/none?token=${USER_TOKEN}`], ['GET', '/transcript?run=run-99'],
  ]) await session.ask(method, path, body);
  await client.ask('GET', `${session.path}/stream?token=${USER_TOKEN}x`, undefined, { authorization: '' });
  await client.ask('GET', '/sessions/none');
  await client.ask('GET', '/sessions', undefined, { authorization: `Bearer ${USER_TOKEN}x` });
  await client.ask('GET', '/runners');
  await client.ask('GET', '/agents/webhooks');
  await client.ask('GET', '/auth/chatgpt/status');
  await client.ask('GET', '/health');
  hub.fault(/access_tokens$/, (response) => response.writeHead(500).end('no'));
  hub.fault(/access_tokens$/, (response) => response.writeHead(401, { 'content-type': 'application/json' }).end('{"message":"Bad credentials"}'));
  await session.ask('POST', '/pr', { 'create-pr': false });
}

/** Searches everything that a session shows and leaves; `allowed` are places where the specification has a secret. */
async function search(session, frames, known, allowed) {
  const own = it.sandbox(session);
  const canaries = new Canaries(known);
  const { arguments: argv, environments } = processTexts((await members(own.id)).map(({ pid }) => pid));
  const commands = Object.fromEntries(own.commands.map(({ cmd, args }, at) => [at, [cmd, ...(args ?? [])].join(' ')]));
  const transcript = await session.ask('GET', '/transcript');
  const places = {
    events: { all: JSON.stringify(await session.events('?limit=10000')) }, streams: { all: frames.join('\n') }, logs: { worker: it.worker.output },
    answers: { all: answers.join('\n') }, transcripts: { all: transcript.text }, 'arguments of commands': commands, arguments: argv,
    environments, files: filesBelow(own.root), storage: filesBelow(it.worker.data),
  };
  assert.ok(places.events.all.length > 1000 && places.streams.all.length > 1000 && answers.length > 20, 'there is something to search');
  assert.ok(Object.keys(argv).length > 1 && Object.keys(commands).length > 5);
  const found = Object.entries(places).flatMap(([kind, texts]) => canaries.found(texts).map((text) => `${kind}: ${text}`));
  return found.filter((text) => !allowed.some((pattern) => pattern.test(text)));
}

test('no canary is found outside of its own place', async () => {
  // A runner and a webhook, whose secrets go in and out once.
  const { status } = await client.ask('POST', '/runners', { 'runner-id': 'r', 'base-url': 'https://runner.example', 'agent-token': runner.agent, 'access-client-id': runner.id, 'access-client-secret': runner.secret });
  assert.equal(status, 200);
  const made = await new Client(it.worker.base, USER_TOKEN).ask('POST', '/agents/webhooks', { url: 'https://receiver.example/x' });
  assert.equal(made.status, 200, made.text);
  const session = await it.create({
    project: project({ 'repo-url': REPOSITORY }),
    agent: { provider: 'claude', 'permission-mode': 'default', 'api-token': task.api, env: { MY_SECRET: task.variable, AGENT_KEEPS: '1', AGENT_TOOLS: '1' }, 'auth-json': JSON.stringify({ tokens: { access_token: task.file } }) },
  });
  const observer = (await new Client(it.worker.base, USER_TOKEN).ask('GET', `${session.path}/observer-token`)).body.token;
  const stream = await session.stream();
  const watching = await fetch(`${it.worker.base}${session.path}/events?token=${encodeURIComponent(observer)}`);
  assert.equal(watching.status, 200);
  const own = it.sandbox(session);
  const tokens = [runToken(own)];
  await turn(session, stream, unique('stream 3; tool; write made.txt words'));
  tokens.push(runToken(own));
  assert.equal((await session.ok('POST', '/pr', {})).status, 'pr-created');
  await provoke(session);
  await turn(session, stream, unique('say more'));
  tokens.push(runToken(own));
  await session.ok('POST', '/snapshot');
  // In between its environment is read while it works.
  const prompt = unique('wait 2000; say end');
  const from = stream.cursors().at(-1) ?? 0;
  await session.say(prompt);
  await stream.until((event) => event.data?.update?.content?.text === prompt.slice(4, 12), 'the turn runs');
  tokens.push(runToken(own));
  const frames = stream.frames.map(({ data }) => JSON.stringify(data));
  const tools = toolTokens(own);
  assert.ok(tools.length > 0, 'tools were offered');
  const left = await search(session, frames, secrets({ own: [own], tokens, tools, webhook: made.body.secret, observer }), [
    // What the agent works with is in its environment (5.3.2); the operator's key too.
    /^environments: (api-token|variable of the task|OPENAI_API_KEY) /,
    // The agent server is started with its token (5.3.5, part 6): in its arguments.
    /^arguments: SANDBOX_AGENT_TOKEN /,
    // What came with the session as the agent's own file (5.3.5, part 4), and what git asks with (20.6).
    /^files: auth-json in home\/user\/\.codex\/auth\.json$/, /^files: run token in home\/user\/\.logseq-agents\/git-broker$/,
    // What the agent was told at session/new (pg-sync.md 4.12), in the stand-in's own log.
    /^files: tool token in home\/user\/prompts\.jsonl$/,
  ]);
  assert.deepEqual(left, []);
  await stream.type('turn.completed', from);
  await stream.close();
});

test('an agent that shows what it has is not repeated', async () => {
  const imported = await client.ask('POST', '/auth/chatgpt/import', { access_token: login.access, refresh_token: login.refresh, expires_in: 3600 });
  assert.equal(imported.status, 200, imported.text);
  const session = await it.create({
    project: project({ 'repo-url': REPOSITORY }), agent: { provider: 'codex', env: { MY_SECRET: task.variable, AGENT_TOOLS: '1' } },
  });
  const stream = await session.stream();
  const own = it.sandbox(session);
  assert.match(fs.readFileSync(own.path('.codex/auth.json'), 'utf8'), new RegExp(login.access));
  fs.writeFileSync(own.path('show.sh'), `env; cat ~/.codex/auth.json ~/.logseq-agents/git-broker ~/.gitconfig .git/config
cat ~/.logseq-agents/git-broker | tr -d '\\n'
TOOL=$(sed -n 's/.*"Bearer \\([^"]*\\)".*/\\1/p' ~/prompts.jsonl | tail -1)
echo "x?token=$TOOL"
printf 'protocol=https\\nhost=github.com\\npath=acme/project.git\\n\\n' | git credential fill
for secret in "$OPENAI_API_KEY" "$MY_SECRET" "$TOOL" ${login.access}; do
  for before in '' a ab; do printf '%s%s' "$before" "$secret" | base64 -w 0; echo; printf '%s%s' "$before" "$secret" | od -An -tx1 -v | tr -d ' \\n'; echo; done
done
tr '\\0' '\\n' < /proc/$PPID/environ`);
  await turn(session, stream, unique('run show.sh'));
  // In pieces: every character a chunk of its own, and halves.
  const pieces = [...settings.OPENAI_API_KEY].map((letter) => `say ${letter}`).join('; ');
  await turn(session, stream, unique(pieces));
  await turn(session, stream, unique(`say key ${task.variable.slice(0, 20)}; say ${task.variable.slice(20)}; say end`));
  const tools = toolTokens(own);
  assert.ok(tools.length > 0, 'tools were offered');
  const canaries = new Canaries(secrets({ own: [own], tokens: [runToken(own)], tools }));
  const shown = { events: JSON.stringify(await session.events('?limit=10000')), stream: stream.frames.map(({ data }) => JSON.stringify(data)).join('\n'), logs: it.worker.output };
  assert.deepEqual(canaries.found(shown), []);
  assert.match(shown.events, /\[redacted\]/);
  const said = stream.frames.filter(({ data }) => data.data?.update?.sessionUpdate === 'agent_message_chunk').map(({ data }) => data.data.update.content.text).join('');
  assert.deepEqual(canaries.in(said), [], 'put together, chunks hold none');
  await stream.close();
});
