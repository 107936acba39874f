// Kills the sandboxes of an E2B account (agents.md 8.5): `cargo xtask kill-sandboxes`.
import readline from 'node:readline/promises';
import { parseArgs } from 'node:util';

const HELP = `Kill the E2B sandboxes of an account, running and paused ones.

Usage: cargo xtask kill-sandboxes [--paused-only | --running-only] [--dry-run] [--yes]

  --paused-only    only paused ones
  --running-only   only running ones
  --dry-run        list them, kill nothing
  --yes            do not ask

Environment: E2B_API_KEY (required), E2B_DOMAIN (e2b.app), E2B_API_URL (https://api.DOMAIN).`;

const CONFIRMATION = "I know what I'm doing";
/** Sandboxes a page, and pages: an account with more is listed again. */
const PAGE = 100;
const MAX_PAGES = 100;

/** Sandboxes of one state, over all pages. */
export async function list(api, state) {
  const found = [];
  let next = null;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const query = new URLSearchParams({ state, limit: String(PAGE), ...(next ? { nextToken: next } : {}) });
    const response = await api(`/v2/sandboxes?${query}`);
    if (!response.ok) throw new Error(`listing ${state} sandboxes: ${response.status} ${await response.text()}`);
    found.push(...await response.json());
    next = response.headers.get('x-next-token');
    if (!next) break;
  }
  return found;
}

/** Kills them; counts those that were there and those that had gone. */
export async function kill(api, ids, say = console.log) {
  const count = { killed: 0, gone: 0 };
  for (const id of ids) {
    const response = await api(`/sandboxes/${encodeURIComponent(id)}`, { method: 'DELETE' });
    if (response.status === 404) { count.gone += 1; say(`${id}: not found`); }
    else if (response.ok) { count.killed += 1; say(`${id}: killed`); }
    else throw new Error(`killing ${id}: ${response.status} ${await response.text()}`);
  }
  return count;
}

async function main() {
  const flag = { type: 'boolean', default: false };
  const { values: args } = parseArgs({ options: { 'paused-only': flag, 'running-only': flag, 'dry-run': flag, yes: flag, help: { ...flag, short: 'h' } } });
  if (args.help) { console.log(HELP); return; }
  const key = process.env.E2B_API_KEY;
  if (!key) throw new Error('E2B_API_KEY is not set');
  if (args['paused-only'] && args['running-only']) throw new Error('--paused-only and --running-only exclude each other');
  const base = process.env.E2B_API_URL || `https://api.${process.env.E2B_DOMAIN || 'e2b.app'}`;
  const api = (path, options = {}) => fetch(base + path, { ...options, headers: { 'x-api-key': key } });
  const states = args['paused-only'] ? ['paused'] : args['running-only'] ? ['running'] : ['running', 'paused'];
  const ids = new Set();
  for (const state of states) {
    const found = await list(api, state);
    console.log(`${state}: ${found.length} sandbox(es) matched`);
    for (const { sandboxID } of found) ids.add(sandboxID);
  }
  if (args['dry-run'] || !ids.size) { for (const id of ids) console.log(id); return; }
  if (!args.yes) {
    const terminal = readline.createInterface({ input: process.stdin, output: process.stdout });
    const said = await terminal.question(`Type "${CONFIRMATION}" to kill ${ids.size} sandbox(es): `);
    terminal.close();
    if (said.trim() !== CONFIRMATION) throw new Error('nothing was killed');
  }
  const { killed, gone } = await kill(api, ids);
  console.log(`${killed} killed, ${gone} not found, ${ids.size} in all`);
}

if (process.argv[1] === import.meta.filename) await main().catch((error) => { console.error(`error: ${error.message}`); process.exit(1); });
