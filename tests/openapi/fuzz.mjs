// schemathesis asks the built agents worker whatever docs/agents-openapi.json allows, and what it does not: no answer may be outside
// the description, and none may be a failure of the server.
//
//   node tests/openapi/fuzz.mjs [--seconds N] [--seed N]      default: 60 seconds, always the same seed
//   SCHEMATHESIS      a Python that has it (default: the one that `cargo xtask test` puts into the cache folder)
//
// Needs a build of the worker (cargo xtask build --worker agents). Exit status 0 when nothing was found.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from '../agents/client.mjs';
import { TOKEN, Worker, temporaryFolder } from '../agents/processes.mjs';
import { tokenOf } from '../agents/run-tokens.mjs';
import { start as startRuntime } from './agent-stand-in.mjs';
import { root } from './description.mjs';

const VERSION = '4.32.5';
const { values: args } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '20' } } });
const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'logseq-workers');
const python = process.env.SCHEMATHESIS || path.join(cache, `schemathesis-${VERSION}`, 'bin', 'python');
if (!fs.existsSync(python)) throw new Error(`no schemathesis: ${python}`);

const ADMIN = 'admin-secret';
/** Sessions that there are, at least for a while: some requests delete them. */
const SESSIONS = Array.from({ length: 30 }, (_, number) => `session-${number}`);

/** The server closes connections that were idle; one that it closes while a request is on its way is no failure, and the request is repeated. */
const repeated = (work) => work().catch((error) => { if (error.cause?.code !== 'UND_ERR_SOCKET') throw error; return work(); });

/** What there is to ask for. Ids are taken from these lists more often than not. */
async function fill(client) {
  const good = (answer) => { if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`); return answer.body; };
  const ids = [...SESSIONS];
  for (const id of SESSIONS) await repeated(() => client.create({ 'session-id': id }));
  for (const session of SESSIONS.slice(0, 5)) good(await repeated(() => client.ask('POST', `/sessions/${session}/messages`, { message: 'hello' })));
  for (const id of ['runner-1', 'runner-2']) {
    good(await repeated(() => client.ask('POST', '/runners', { 'runner-id': id, 'base-url': 'https://runner.example' })));
    ids.push(id);
  }
  for (const name of ['a', 'b']) ids.push(good(await repeated(() => client.ask('POST', '/agents/webhooks', { url: `https://receiver.example/${name}` }))).webhook['webhook-id']);
  return ids;
}

/** What is looked at in each answer. */
const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance', 'response_schema_conformance', 'ignored_auth'];

const list = (values) => `[${values.map((value) => JSON.stringify(value)).join(', ')}]`;
const settings = (ids) => `
hooks = ${JSON.stringify(path.join(root, 'tests/openapi/hooks.py'))}

[checks]
enabled = false
${CHECKS.map((name) => `${name} = { enabled = true }`).join('\n')}

[dictionaries]
ids = { values = ${list(ids)} }
runs = { values = ${list(['run-1', 'run-2'])} }

[parameters]
"path.id" = { dictionary = "ids", probability = 0.7 }
"path.run" = { dictionary = "runs", probability = 0.7 }

[auth.openapi]
user = { bearer = ${JSON.stringify(TOKEN)} }
run = { bearer = ${JSON.stringify(tokenOf(SESSIONS[0], 1, { exp: Math.floor(Date.now() / 1000) + 7200 }))} }
operator = { api_key = ${JSON.stringify(ADMIN)} }

# There is no GitHub here, and the runtime has no working tree. That they cannot be asked is a failure of the server (agents.md 2.6.7,
# 2.6.10, 20.2), whose text is looked at all the same.
[[operations]]
include-operation-id = ["listBranches", "publish", "files", "diff"]
checks = { not_a_server_error = { enabled = false } }
`;

/** Lines of the worker that are shown of a run that fails. */
const MAX_LINES = 20;

/** Streams end when their reader goes, and terminals are no HTTP. */
const LEFT_OUT = ['stream', 'terminal'];

let runtime; let worker; let code = 1;
try {
  runtime = await startRuntime();
  worker = await Worker.start(runtime.url, { env: { DB_SYNC_ADMIN_TOKEN: ADMIN } });
  const folder = temporaryFolder();
  const config = path.join(folder, 'schemathesis.toml');
  fs.writeFileSync(config, settings(await fill(new Client(worker.base))));
  const words = ['-m', 'schemathesis.cli', '--config-file', config, 'run', path.join(root, 'docs/agents-openapi.json'), '--url', worker.base,
    '--phases', 'coverage,fuzzing,stateful', '--seed', args.seed, '--max-time', args.seconds,
    '--generation-database', 'none', '--request-timeout', '20', '--warnings', 'off', '--no-color', '--continue-on-failure',
    ...LEFT_OUT.flatMap((id) => ['--exclude-operation-id', id])];
  const child = spawn(python, words, { cwd: folder, stdio: 'inherit', env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  code = await new Promise((resolve, reject) => { child.once('exit', (status, signal) => resolve(status ?? signal)).once('error', reject); });
} finally {
  await worker?.stop();
  runtime?.stop();
}
if (code !== 0) {
  // Why the worker failed is in its log alone: an answer never says it.
  const failures = worker?.output.split('\n').filter((line) => /"level":"error"|Uncaught/.test(line)) ?? [];
  console.log(`schemathesis ended with ${code}; the worker said:\n${failures.slice(-MAX_LINES).join('\n')}`);
}
process.exit(code === 0 ? 0 : 1);
