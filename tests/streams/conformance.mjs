// Runs the published conformance suite of durable streams against our store with routes that write (docs/spec/pg-sync.md 6.1), and compares what fails with
// `expected-failures.json`, both ways: another failure, a listed test that passes, and a name that the suite does not know are errors. `STREAMS_SERVER` is the server.
// `--write` writes the list anew, keeping the reasons of groups.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const LONG_POLL_MS = '500';
const here = path.dirname(fileURLToPath(import.meta.url));
const list = path.join(here, 'expected-failures.json');
const vitest = path.join(here, '../../node_modules/vitest/vitest.mjs');

/** A test by its group and name, as the list has them. */
const nameOf = ({ ancestorTitles, title }) => [...ancestorTitles.filter(Boolean), title].join(' > ');

const server = spawn(process.env.STREAMS_SERVER, { env: { ...process.env, LONG_POLL_MS }, stdio: ['ignore', 'pipe', 'inherit'] });
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'streams-'));
try {
  const [base] = await new Promise((done, failed) => {
    createInterface({ input: server.stdout }).once('line', (line) => done([line]));
    server.once('exit', (code) => failed(new Error(`the server ended with ${code}`)));
  });
  const outputFile = path.join(folder, 'results.json');
  const args = [vitest, 'run', '--root', here, '--reporter=json', `--outputFile=${outputFile}`];
  const run = spawn(process.execPath, args, { env: { ...process.env, STREAMS_URL: base, LONG_POLL_MS }, stdio: ['ignore', 'ignore', 'inherit'] });
  await new Promise((done) => { run.once('exit', done); });
  compare(JSON.parse(fs.readFileSync(outputFile, 'utf8')));
} finally {
  server.kill();
  fs.rmSync(folder, { recursive: true, force: true });
}

function compare(results) {
  const tests = results.testResults.flatMap(({ assertionResults }) => assertionResults);
  const of = (status) => new Set(tests.filter((test) => test.status === status).map(nameOf));
  const [passed, failed, skipped] = ['passed', 'failed', 'pending'].map(of);
  assert.ok(passed.size + failed.size > 300, `only ${passed.size + failed.size} tests were run`);
  if (process.argv.includes('--write')) return write(failed);
  const expected = new Set(JSON.parse(fs.readFileSync(list, 'utf8')).flatMap(({ tests: names }) => names));
  const messages = new Map(tests.map((test) => [nameOf(test), test.failureMessages?.[0]?.split('\n')[0]]));
  const wrong = [
    ...[...failed].filter((name) => !expected.has(name)).map((name) => `fails: ${name}: ${messages.get(name)}`),
    ...[...expected].filter((name) => passed.has(name)).map((name) => `passes, and is listed: ${name}`),
    ...[...expected].filter((name) => !passed.has(name) && !failed.has(name)).map((name) => `is listed, and was not run: ${name}`),
  ];
  assert.deepEqual(wrong, [], wrong.join('\n'));
  console.log(`${passed.size} tests of the suite pass, ${failed.size} fail as listed, ${skipped.size} are skipped.`);
}

/** The failures under the reasons that are known by the names of their groups; others are shown. */
function write(failed) {
  const groups = JSON.parse(fs.readFileSync(list, 'utf8')).map((group) => ({ ...group, tests: [] }));
  for (const name of failed) {
    const group = groups.find(({ of }) => of.some((beginning) => name.startsWith(beginning)));
    if (group) group.tests.push(name);
    else console.log(`no reason is known: ${name}`);
  }
  fs.writeFileSync(list, `${JSON.stringify(groups, null, 1)}\n`);
}
