#!/usr/bin/env node
// Plays the recorded conversations against a running server, twice:
// as ours must answer (`--expect port`: no difference at all), and as the reference answered
// (`--expect reference`: every difference stands in deviations.md under a numbered decision).
//
//   BASE_URL, JWKS_PORT, SIGNING_KEY   as in the conformance suite; the server runs with
//   DB_SYNC_SNAPSHOT_STREAM_GZIP=false and DB_SYNC_ADMIN_TOKEN=admin-secret
//   GOLDEN_DIR                         folder of the recordings (tests/reference/golden)
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readScenario, scenarioFiles } from '../reference/tools/replay.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, '..', '..');
const golden = path.resolve(root, process.env.GOLDEN_DIR || 'tests/reference/golden');
const base = process.env.BASE_URL || 'http://127.0.0.1:8787';

function replay(expect) {
  const args = [path.join(root, 'tests/reference/tools/replay.mjs'), '--base', base, '--jwks-port', process.env.JWKS_PORT || '8799',
    '--expect', expect, '--max', '1000000', ...(process.env.SIGNING_KEY ? ['--key', process.env.SIGNING_KEY] : []), path.join(golden, 'server')];
  const run = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (run.status !== 0 && run.status !== 1) throw new Error(`replay ended with ${run.status}: ${run.stderr}`);
  return run.stdout;
}

/** Rows of the table: `scenario step` -> decision. */
function decided() {
  const table = new Map();
  for (const line of fs.readFileSync(path.join(here, 'deviations.md'), 'utf8').split('\n')) {
    const row = /^\| ([\w-]+) \| ([\d.]+(?:, [\d.]+)*) \| ([^|]+) \| ([^|]+) \|$/.exec(line);
    if (row) for (const step of row[2].split(', ')) table.set(`${row[1]} ${step}`, row[3].trim());
  }
  return table;
}

let failed = 0; let passed = 0;
const verdict = (ok, text) => { if (ok) passed += 1; else failed += 1; console.log(`${ok ? 'ok  ' : 'FAIL'} ${text}`); };

const port = replay('port');
for (const line of port.split('\n')) {
  const scenario = /^(same|DIFF) {2}([\w-]+): (.*)$/.exec(line);
  if (scenario) verdict(scenario[1] === 'same', `${scenario[2]}: ${scenario[3]}`);
  else if (line.trim() && !/^\d+ scenarios/.test(line)) console.log(`     ${line}`);
}

/**
 * Steps that the recordings mark as decided deviations, by the recording's numbers: a step added later has a number
 * between two others. Steps of one mode only are no deviations: the other mode does not play them.
 */
function marked() {
  const steps = new Set(); const scenarios = new Set();
  for (const file of scenarioFiles([path.join(golden, 'server')])) {
    const { header, steps: all } = readScenario(file);
    scenarios.add(header.scenario);
    for (const step of all) if (step.port) steps.add(`${header.scenario} ${step.step}`);
  }
  return { steps, scenarios };
}

const table = decided();
const { steps, scenarios } = marked();
const seen = new Set([...replay('reference').matchAll(/^([\w-]+) step ([\d.]+) \(/gm)].map((m) => `${m[1]} ${m[2]}`));
const listed = new Set([...table.keys()].map((at) => at.split(' ')[0]));
for (const at of seen) {
  // A recording from another folder has its own marks.
  if (!table.has(at) && (listed.has(at.split(' ')[0]) || !steps.has(at))) verdict(false, `differs from the reference without a decision: ${at}`);
}
for (const [at, decision] of table) if (scenarios.has(at.split(' ')[0])) verdict(seen.has(at), `${at} deviates by decision (${decision})`);

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
