// Plays the recorded conversations with an agents worker against the built one (build/agents), in each of the environments
// that they were recorded under. The worker, its back ends and the players are those of tests/reference/tools.
//
//   node tests/replay/agents.mjs [--profile NAME] [--only REGEX] [--verbose]
//
//   --profile NAME   one environment of profiles.json (default: all)
//   --only REGEX     scenarios whose name matches
//   --verbose        what the worker prints is shown
//   GOLDEN_DIR       folder of the recordings (tests/reference/golden)
//
// Exit status 0 when nothing differs from what our worker must answer (`--expect port`), but for the steps of
// agents-deviations.json, which says why; a step of it that does not differ any more is a failure too.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const tools = path.join(root, 'tests/reference/tools');
const recordings = path.resolve(root, process.env.GOLDEN_DIR || 'tests/reference/golden', 'agents');
const entry = path.join(root, 'build/agents/index.js');
const { values: args } = parseArgs({ options: { profile: { type: 'string' }, only: { type: 'string' }, verbose: { type: 'boolean', default: false } } });

const profilesFile = path.join(recordings, 'profiles.json');
for (const [file, without] of [[profilesFile, 'there are no recordings (GOLDEN_DIR)'], [entry, 'the worker was not built (cargo xtask build)']]) {
  if (!fs.existsSync(file)) throw new Error(`${without}: no ${file}`);
}
const profiles = Object.keys(JSON.parse(fs.readFileSync(profilesFile, 'utf8')));
const chosen = args.profile ? profiles.filter((name) => name === args.profile) : profiles;
if (!chosen.length) throw new Error(`no profile ${args.profile}: ${profiles.join(', ')}`);

/** The name and the environment of each scenario. */
const scenarios = fs.readdirSync(recordings).filter((name) => name.endsWith('.jsonl')).map((name) => {
  const [header] = fs.readFileSync(path.join(recordings, name), 'utf8').split('\n', 1);
  const { scenario, profile = 'default' } = JSON.parse(header);
  return { scenario, profile };
});

const deviations = JSON.parse(fs.readFileSync(path.join(root, 'tests/replay/agents-deviations.json'), 'utf8'));

/** Whether exactly the steps differ that are known to. */
function isKnown(scenario, steps) {
  const known = deviations[scenario]?.steps ?? [];
  return known.length === steps.size && known.every((step) => steps.has(step));
}

const freePort = () => new Promise((resolve, reject) => {
  const server = net.createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** Starts the worker in an environment; resolves when it answers. */
function host(profile, port, backendPort, state, profilesFile) {
  const child = spawn(process.execPath, [path.join(tools, 'agents-host.mjs'), '--entry', entry,
    '--migrations', ['sync', 'agents'].map((name) => path.join(root, 'migrations', name)).join(','),
    '--profiles', profilesFile, '--profile', profile, '--port', port, '--backend-port', backendPort, '--state', state,
    ...(args.verbose ? ['--verbose'] : [])].map(String), { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = new Promise((resolve, reject) => {
    readline.createInterface(child.stdout).on('line', (line) => {
      if (args.verbose) console.log(line);
      if (line.startsWith('worker with profile')) resolve();
    });
    child.once('exit', (code, signal) => reject(new Error(`the worker ended with ${signal ?? code}`))).once('error', reject);
  });
  return { child, ready };
}

/** Environments in which a runner counts as gone after a second: on a busy machine that may be over between two steps. */
const HURRIED = ['bare'];

/** How often a conversation of such an environment is played until it shows what it must. */
const MOST_PLAYS = 3;

/** The environments, with runners that are waited for: for conversations in which none goes. */
function patientProfiles(state) {
  const file = path.join(state, 'patient-profiles.json');
  const all = JSON.parse(fs.readFileSync(profilesFile, 'utf8'));
  for (const name of HURRIED) if (all[name]) all[name].LOCAL_RUNNER_HEARTBEAT_TTL_MS = '60000';
  fs.writeFileSync(file, JSON.stringify(all));
  return file;
}

/** Plays the scenarios of an environment whose names match; counts those that are the same and names those that differ. */
async function play(profile, state, only, environments = profilesFile) {
  const [port, backendPort] = [await freePort(), await freePort()];
  const { child, ready } = host(profile, port, backendPort, state, environments);
  const counts = { same: 0, differ: [], known: 0 };
  let steps = new Set();
  try {
    await ready;
    const player = spawn(process.execPath, [path.join(tools, 'agents-replay.mjs'), '--base', `http://127.0.0.1:${port}`,
      '--backend-port', backendPort, '--state', state, '--profile', profile, '--expect', 'port',
      ...(only ? ['--only', only] : []), recordings].map(String), { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of readline.createInterface(player.stdout)) {
      const step = /^(\S+) step (\d+) /.exec(line);
      if (step) steps.add(Number(step[2]));
      const [, mark, scenario] = /^(same|DIFF) {2}(\S+):/.exec(line) ?? [];
      if (mark) {
        const known = isKnown(scenario, steps);
        if (mark === 'DIFF' && known) counts.known += 1;
        else if (mark === 'same' && known) counts.same += 1;
        else {
          counts.differ.push(scenario);
          if (mark === 'same') console.log(`${scenario} does not differ any more: take it out of agents-deviations.json`);
        }
        if (mark === 'DIFF') counts.told = (counts.told ?? 0) + 1;
        steps = new Set();
      }
      if (!/^\d+ scenarios/.test(line)) console.log(line);
    }
    const code = player.exitCode ?? await new Promise((resolve) => { player.once('exit', resolve); });
    // 0: all the same, 1: something differs. Anything else is no result.
    if (code !== 0 && code !== 1) throw new Error(`the player ended with ${code}`);
    if ((code === 0) !== !counts.told) throw new Error('the player says otherwise than its lines');
  } finally {
    child.removeAllListeners('exit');
    child.kill();
  }
  return counts;
}

const state = fs.mkdtempSync(path.join(os.tmpdir(), 'agents-replay-'));
const total = { same: 0, differ: 0, known: 0, missing: 0 };
try {
  for (const profile of chosen) {
    const wanted = scenarios.filter((it) => it.profile === profile && (!args.only || new RegExp(args.only).test(it.scenario))).length;
    if (!wanted) continue;
    console.log(`environment ${profile}: ${wanted} scenarios`);
    const counts = await play(profile, state, args.only);
    for (let plays = 1; counts.differ.length && HURRIED.includes(profile) && plays < MOST_PLAYS; plays += 1) {
      console.log(`once more, as a second decides here: ${counts.differ.join(', ')}`);
      const environments = plays === 1 ? patientProfiles(state) : profilesFile;
      const again = await play(profile, state, `^(${counts.differ.join('|')})$`, environments);
      counts.same += again.same;
      counts.known += again.known;
      counts.differ = again.differ;
    }
    total.same += counts.same;
    total.differ += counts.differ.length;
    total.known += counts.known;
    total.missing += wanted - counts.same - counts.differ.length - counts.known;
  }
} finally {
  fs.rmSync(state, { recursive: true, force: true });
}
const played = total.same + total.differ + total.known;
console.log(`${played} scenarios played: ${total.same} the same, ${total.known} differ as decided, ${total.differ} differ${total.missing ? `, ${total.missing} were not played` : ''}`);
process.exit(played && !total.differ && !total.missing ? 0 : 1);
