// A coding agent that notes when each prompt reached its standard input, and answers it at once. STDIN_LOG names the file: a line
// `TEXT MILLISECONDS` a prompt.
import fs from 'node:fs';
import readline from 'node:readline';

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const results = {
  initialize: { protocolVersion: 1, agentCapabilities: { loadSession: false, promptCapabilities: {} }, authMethods: [] },
  'session/new': { sessionId: 'only' },
  'session/prompt': { stopReason: 'end_turn' },
};

for await (const line of readline.createInterface(process.stdin)) {
  const at = performance.timeOrigin + performance.now();
  const { id, method, params } = JSON.parse(line);
  if (method === 'session/prompt') fs.appendFileSync(process.env.STDIN_LOG, `${params.prompt.at(-1).text} ${at}\n`);
  if (id !== undefined) send({ id, result: results[method] ?? {} });
}
