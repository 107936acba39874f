#!/usr/bin/env node
// A coding agent that does what its prompt says, for tests: an ACP process (JSON-RPC, a message a line, on standard input
// and output) that the real sandbox-agent server starts as if it were `claude-agent-acp`, `codex-acp` and so on.
//
// A prompt is a list of orders, carried out one after the other, separated by `;`:
//   say TEXT        a chunk of the answer
//   think TEXT      a chunk of reasoning
//   stream N        N chunks: `0 `, `1 `, …
//   wait MS         nothing, for so long; ends at once when the turn is cancelled
//   ask             asks for permission, and says `allowed`, `rejected` or `cancelled`
//   tool            runs a process (`node -e`), and tells of it as a tool call
//   write NAME TEXT writes a file into the session's folder, and says its name
//   fail            answers the prompt with an error
//   deaf            from now on this turn does not notice that it is cancelled
//   exit CODE       the process ends
// Anything else is said back. AGENT_LOG names a file to which a line is appended for each prompt, before anything is done:
// {"pid", "session", "text"}, and a line {"pid", "cancel"} for each cancellation.
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
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
const say = (sessionId, text) => update(sessionId, { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } });

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

async function prompt(id, { sessionId, prompt: blocks }) {
  const text = blocks.filter((block) => block.type === 'text').map((block) => block.text).join('');
  log({ session: sessionId, text });
  const turn = { cancelled: false, deaf: false, wake: () => {} };
  sessions.set(sessionId, turn);
  for (const order of text.split(';').map((it) => it.trim()).filter(Boolean)) {
    if (turn.cancelled && !turn.deaf) break;
    const [verb, rest = ''] = order.split(/ (.*)/s);
    switch (verb) {
      case 'say': say(sessionId, rest); break;
      case 'think': update(sessionId, { sessionUpdate: 'agent_thought_chunk', content: { type: 'text', text: rest } }); break;
      case 'stream': for (let i = 0; i < Number(rest); i += 1) { say(sessionId, `${i} `); await sleep(turn, 1); } break;
      case 'wait': await sleep(turn, Number(rest)); break;
      case 'ask': await askPermission(sessionId, turn); break;
      case 'tool': await runTool(sessionId); break;
      case 'write': write(sessionId, ...rest.split(/ (.*)/s)); break;
      case 'fail': send({ id, error: { code: -32000, message: 'the agent failed as it was told to' } }); return;
      case 'deaf': turn.deaf = true; break;
      case 'exit': process.exit(Number(rest));
      // falls through
      default: say(sessionId, `echo: ${order}`);
    }
  }
  send({ id, result: { stopReason: turn.cancelled && !turn.deaf ? 'cancelled' : 'end_turn' } });
}

const methods = {
  initialize: () => ({ protocolVersion: 1, agentCapabilities: { loadSession: false, promptCapabilities: {} }, authMethods: [] }),
  'session/new': ({ cwd }) => {
    const sessionId = crypto.randomUUID();
    sessions.set(sessionId, null);
    folders.set(sessionId, cwd);
    return { sessionId };
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
    send(method ? { id: message.id, result: method(message.params) } : { id: message.id, error: { code: -32601, message: 'method not found' } });
  } else if (message.id !== undefined) {
    asked.get(message.id)?.(message);
  }
}
