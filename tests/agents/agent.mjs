#!/usr/bin/env node
// A coding agent that does what its prompt says, for tests: an ACP process (JSON-RPC, a message a line, on standard input
// and output) that the real sandbox-agent server starts as if it were `claude-agent-acp`, `codex-acp` and so on.
//
// A prompt is a list of orders, carried out one after the other, separated by `;`:
//   say TEXT        a chunk of the answer
//   think TEXT      a chunk of reasoning
//   stream N        N chunks: `0 `, `1 `, …
//   wait MS         nothing, for so long; ends at once when the turn is cancelled
//   until PATH      nothing, until there is such a file; ends at once when the turn is cancelled
//   ask             asks for permission, and says `allowed`, `rejected` or `cancelled`
//   tool            runs a process (`node -e`), and tells of it as a tool call
//   write NAME TEXT writes a file into the session's folder, and says its name
//   run NAME        runs a shell script below its home, and says what it printed
//   raw NAME        sends the lines of a file below its home as they are, with its session in the place of SESSION and the number of the
//                   prompt in that of PROMPT
//   fail            answers the prompt with an error
//   deaf            from now on this turn does not notice that it is cancelled
//   exit CODE       the process ends
//   recall          what was said to it in this conversation, over all of its processes
//   half            writes down a call of a tool, and never its result
//   call NAME JSON  calls a tool of the server that it was told of, with the official client, and says what came of it
// Anything else is said back. AGENT_LOG names a file to which a line is appended for each prompt, before anything is done:
// {"pid", "session", "text"}, and a line {"pid", "cancel"} for each cancellation, {"pid", "load", "refused"} for each
// conversation that it is to load, and {"session", "servers"} for the servers of tools that it is told of.
//
// With AGENT_TOOLS it says that it can use tools behind HTTP.
//
// With AGENT_KEEPS it keeps conversations as Claude does: a file of JSON lines for each, below its home, in a folder named by the
// working directory. Each line holds the hash of everything before it; a file of which anything was changed is refused.
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

const log = (entry) => { if (process.env.AGENT_LOG) fs.appendFileSync(process.env.AGENT_LOG, `${JSON.stringify({ pid: process.pid, ...entry })}\n`); };
const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

/** Sessions and what is under way in them: {cancelled, wake}. */
const sessions = new Map();
/** The folders of sessions. A sandbox's home is wherever HOME says. */
const folders = new Map();
/** Questions to the client that wait for an answer, by id. */
const asked = new Map();
let nextId = 1;

const update = (sessionId, told) => send({ method: 'session/update', params: { sessionId, update: told } });
const say = (sessionId, text) => {
  const turn = sessions.get(sessionId);
  if (turn) turn.said += text;
  update(sessionId, { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } });
};

const keeps = Boolean(process.env.AGENT_KEEPS);
/** Files of conversations, by session. */
const files = new Map();
const hash = (text) => crypto.createHash('sha256').update(text).digest('hex');
const fileOf = (sessionId, cwd) => path.join(process.env.HOME ?? os.homedir(), '.claude/projects', cwd.replace(/[^a-zA-Z0-9]/g, '-'), `${sessionId}.jsonl`);
const read = (sessionId) => { try { return fs.readFileSync(files.get(sessionId), 'utf8'); } catch { return ''; } };

/** Adds a line to a conversation. */
function keep(sessionId, entry) {
  if (!keeps) return;
  const file = files.get(sessionId);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.appendFileSync(file, `${JSON.stringify({ ...entry, before: hash(read(sessionId)) })}\n`);
}

/** The lines of a conversation; it must be as it was written. */
function kept(sessionId) {
  const text = read(sessionId);
  if (!text) throw new Error('there is no such conversation');
  let before = '';
  return text.split('\n').slice(0, -1).map((line) => {
    const entry = JSON.parse(line);
    if (entry.before !== hash(before)) throw new Error('the conversation was changed');
    before += `${line}\n`;
    return entry;
  });
}

function sleep(turn, ms) {
  if (turn.cancelled) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    turn.wake = () => { clearTimeout(timer); resolve(); };
  });
}

async function askPermission(sessionId, turn) {
  const id = `ask-${nextId++}`;
  const options = [['allow', 'allow_once'], ['reject', 'reject_once']].map(([optionId, kind]) => ({ optionId, name: optionId, kind }));
  send({ id, method: 'session/request_permission', params: { sessionId, toolCall: { toolCallId: `call-${id}`, title: 'touch a file', kind: 'edit' }, options } });
  const answer = await Promise.race([
    new Promise((resolve) => { asked.set(id, resolve); }),
    new Promise((resolve) => { turn.wake = () => resolve(null); }),
  ]);
  asked.delete(id);
  const outcome = answer?.result?.outcome;
  say(sessionId, { allow: 'allowed', reject: 'rejected' }[outcome?.optionId] ?? 'cancelled');
}

async function runTool(sessionId) {
  const toolCallId = crypto.randomUUID();
  update(sessionId, { sessionUpdate: 'tool_call', toolCallId, title: 'run a program', kind: 'execute', status: 'in_progress', rawInput: { command: 'node' } });
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("tool output")'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const output = (await child.stdout.setEncoding('utf8').toArray()).join('');
  update(sessionId, { sessionUpdate: 'tool_call_update', toolCallId, status: 'completed', content: [{ type: 'content', content: { type: 'text', text: output } }] });
}

/** Writes a file into a session's folder. */
function write(sessionId, name, text) {
  fs.writeFileSync(path.join(folders.get(sessionId).replace(/^\/home\/user(?=\/|$)/, process.env.HOME), name), `${text}\n`);
  say(sessionId, `wrote ${name}`);
}

/** Runs a script and says what it prints. */
async function runScript(sessionId, name) {
  // Without a sandbox there is no tree of the session's project.
  const tree = folders.get(sessionId).replace(/^\/home\/user(?=\/|$)/, process.env.HOME);
  const cwd = fs.existsSync(tree) ? tree : process.env.HOME;
  const child = spawn('sh', [path.join(process.env.HOME, name)], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const [printed, failed] = await Promise.all([child.stdout, child.stderr].map(async (it) => (await it.setEncoding('utf8').toArray()).join('')));
  say(sessionId, printed + failed);
}

/** Servers of tools, by session. */
const servers = new Map();

/** Remembers the servers of tools of a session. */
function offered(sessionId, told) {
  servers.set(sessionId, told);
  if (process.env.AGENT_TOOLS) log({ session: sessionId, servers: told });
}

/** Calls a tool and says what came of it. */
async function callTool(sessionId, name, text) {
  const [{ Client }, { StreamableHTTPClientTransport }] = await Promise.all([
    import('@modelcontextprotocol/sdk/client/index.js'), import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
  ]);
  const [server] = servers.get(sessionId) ?? [];
  const client = new Client({ name: 'agent', version: '1' });
  const headers = Object.fromEntries(server.headers.map((header) => [header.name, header.value]));
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers } }));
    const { structuredContent, content } = await client.callTool({ name, arguments: JSON.parse(text) });
    say(sessionId, `tool: ${structuredContent ? JSON.stringify(structuredContent) : content[0].text}`);
  } catch (error) {
    say(sessionId, `tool failed: ${error.message}`);
  } finally {
    await client.close();
  }
}

async function prompt(id, { sessionId, prompt: blocks }) {
  const text = blocks.filter((block) => block.type === 'text').map((block) => block.text).join('');
  log({ session: sessionId, text });
  const turn = { cancelled: false, deaf: false, said: '', wake: () => {} };
  sessions.set(sessionId, turn);
  keep(sessionId, { type: 'user', text });
  for (const order of text.split(';').map((it) => it.trim()).filter(Boolean)) {
    if (turn.cancelled && !turn.deaf) break;
    const [verb, rest = ''] = order.split(/ (.*)/s);
    switch (verb) {
      case 'say': say(sessionId, rest); break;
      case 'think': update(sessionId, { sessionUpdate: 'agent_thought_chunk', content: { type: 'text', text: rest } }); break;
      case 'stream': for (let i = 0; i < Number(rest); i += 1) { say(sessionId, `${i} `); await sleep(turn, 1); } break;
      case 'wait': await sleep(turn, Number(rest)); break;
      case 'until': while (!turn.cancelled && !fs.existsSync(rest)) await sleep(turn, 10); break;
      case 'ask': await askPermission(sessionId, turn); break;
      case 'tool': await runTool(sessionId); break;
      case 'write': write(sessionId, ...rest.split(/ (.*)/s)); break;
      case 'run': await runScript(sessionId, rest); break;
      case 'raw': process.stdout.write(fs.readFileSync(path.join(process.env.HOME, rest), 'utf8').replaceAll('SESSION', sessionId).replaceAll('PROMPT', id)); break;
      case 'fail': send({ id, error: { code: -32000, message: 'the agent failed as it was told to' } }); return;
      case 'deaf': turn.deaf = true; break;
      case 'recall': say(sessionId, kept(sessionId).filter((entry) => entry.type === 'user').map((entry) => entry.text).join(' | ')); break;
      case 'half': keep(sessionId, { type: 'assistant', content: [{ type: 'tool_use', id: crypto.randomUUID() }] }); break;
      case 'call': await callTool(sessionId, ...rest.split(/ (.*)/s)); break;
      case 'exit': process.exit(Number(rest));
      // falls through
      default: say(sessionId, `echo: ${order}`);
    }
  }
  keep(sessionId, { type: 'assistant', text: turn.said });
  send({ id, result: { stopReason: turn.cancelled && !turn.deaf ? 'cancelled' : 'end_turn' } });
}

const methods = {
  initialize: () => ({ protocolVersion: 1, agentCapabilities: { loadSession: keeps, promptCapabilities: {}, ...(process.env.AGENT_TOOLS && { mcpCapabilities: { http: true, sse: false } }) }, authMethods: [] }),
  'session/new': ({ cwd, mcpServers }) => {
    const sessionId = crypto.randomUUID();
    offered(sessionId, mcpServers);
    sessions.set(sessionId, null);
    files.set(sessionId, fileOf(sessionId, cwd));
    folders.set(sessionId, cwd);
    return { sessionId };
  },
  'session/load': ({ sessionId, cwd, mcpServers }) => {
    offered(sessionId, mcpServers);
    files.set(sessionId, fileOf(sessionId, cwd));
    try {
      for (const entry of kept(sessionId)) {
        const sessionUpdate = entry.type === 'user' ? 'user_message_chunk' : 'agent_message_chunk';
        update(sessionId, { sessionUpdate, content: { type: 'text', text: entry.text ?? '' } });
      }
    } catch (refused) {
      log({ load: sessionId, refused: refused.message });
      throw refused;
    }
    log({ load: sessionId, refused: null });
    sessions.set(sessionId, null);
    return {};
  },
  'session/set_mode': () => ({}),
};

for await (const line of readline.createInterface(process.stdin)) {
  const message = JSON.parse(line);
  if (message.method === 'session/prompt') {
    prompt(message.id, message.params);
  } else if (message.method === 'session/cancel') {
    log({ cancel: message.params.sessionId });
    const turn = sessions.get(message.params.sessionId);
    if (turn && !turn.deaf) { turn.cancelled = true; turn.wake(); }
  } else if (message.method && message.id !== undefined) {
    const method = methods[message.method];
    try {
      send(method ? { id: message.id, result: method(message.params) } : { id: message.id, error: { code: -32601, message: 'method not found' } });
    } catch (refused) {
      send({ id: message.id, error: { code: -32000, message: refused.message } });
    }
  } else if (message.id !== undefined) {
    asked.get(message.id)?.(message);
  }
}
