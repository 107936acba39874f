// The status page of the native server (self-host.md 4.5) in a real browser, by keyboard. LOGSEQ_SYNC names the program, CHROMIUM the
// browser; SCREENSHOTS a folder for pictures of the page.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { isAccessible, launch, picture, tabOf, text } from '../browser.mjs';

const TOKEN = 'a-token-that-is-long-enough';
const ADMIN = 'the-operators-token';
let data; let server; let base; let browser;

before(async () => {
  data = fs.mkdtempSync(path.join(os.tmpdir(), 'status-'));
  const env = {
    PATH: process.env.PATH, HOME: data, DB_SYNC_DATA_DIR: data, DB_SYNC_AUTH_DRIVER: 'static', DB_SYNC_AUTH_TOKEN: TOKEN,
    DB_SYNC_ADMIN_TOKEN: ADMIN, DB_SYNC_STATIC_USERNAME: 'ann', DB_SYNC_INITIAL_DATA: 'true',
  };
  const program = process.env.LOGSEQ_SYNC;
  server = spawn(program, ['serve', '--port', '0', '--bind', '127.0.0.1', '--json'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(readline.createInterface({ input: server.stdout }), 'line');
  [base] = JSON.parse(line).listen;
  browser = await launch();
});

after(async () => {
  await browser?.close();
  if (server) { server.kill('SIGTERM'); await once(server, 'exit'); }
  fs.rmSync(data, { recursive: true, force: true });
});

async function eventually(what, isSo) {
  const end = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

const tab = (settings) => tabOf(browser, settings);


async function graph(name) {
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ 'graph-name': name, 'graph-e2ee?': false, 'graph-ready-for-use?': true });
  const answer = await fetch(`${base}/graphs`, { method: 'POST', headers, body });
  assert.equal(answer.status, 200);
  return (await answer.json())['graph-id'];
}

/** A device at a graph, and a way to say something and hear the answer. */
async function device(id) {
  const socket = new WebSocket(`${base.replace('http', 'ws')}/sync/${id}?token=${TOKEN}`, { headers: { 'user-agent': 'Logseq/1 Electron/30' } });
  await once(socket, 'open');
  const ask = async (message, type) => {
    const heard = new Promise((resolve) => {
      socket.on('message', (data) => { const said = JSON.parse(data); if (said.type === type) resolve(said); });
    });
    socket.send(JSON.stringify(message));
    return heard;
  };
  return { ask, close: () => socket.close() };
}

function batch(t, number) {
  const add = (attribute, value) => ['~:db/add', 'page', `~:${attribute}`, value];
  const uuid = `~u66b8d8f0-0000-4000-8000-${String(number).padStart(12, '0')}`;
  const items = [
    add('block/uuid', uuid), add('block/name', `page ${number}`), add('block/title', `Page ${number}`),
    add('block/created-at', 1755000000000), add('block/updated-at', 1755000000000), add('block/tags', '~:logseq.class/Page'),
  ];
  return { type: 'tx/batch', 't-before': t, txs: [{ tx: JSON.stringify(items), 'outliner-op': 'create-page' }] };
}

async function signIn(page, token) {
  await page.goto(base);
  // It is given with the first picture of the page, on a busy machine a moment later.
  await eventually('the field has the focus', async () => (await page.evaluate(() => document.activeElement.id)) === 'token');
  await page.keyboard.type(token);
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
}

test('whoever signs in by keyboard sees that devices agree, and when they do not', async () => {
  const id = await graph('<img src=x onerror=window.hit=1>');
  const first = await device(id);
  assert.equal((await first.ask(batch(0, 1), 'tx/batch/ok')).t, 1);
  const { page, seen, close } = await tab();
  await page.goto(base);
  await isAccessible(page, 'the form');
  await picture(page, 'login');
  await signIn(page, 'wrong');
  assert.match(await text(page, '[role=alert]'), /lets nobody in/);
  await isAccessible(page, 'the form again');
  await signIn(page, ADMIN);
  assert.equal(new URL(page.url()).pathname, '/');
  assert.equal(await text(page, '#agreement'), 'All devices agree.');
  assert.ok((await text(page, '#status')).includes('<img src=x onerror=window.hit=1>'), 'a name is text');
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  assert.ok((await text(page, 'table')).includes('Logseq desktop'));
  await isAccessible(page, 'the status');
  await picture(page, 'status');

  // A device that has not asked for anything yet is behind; the page learns it by itself, and the focus stays.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label'));
  assert.equal(await focused(), 'Devices');
  const second = await device(id);
  await eventually('the page hears of it', async () => (await text(page, '#agreement').catch(() => '')).includes('One device'));
  assert.equal(await focused(), 'Devices');
  await isAccessible(page, 'one is behind');
  await second.ask({ type: 'pull', since: 0 }, 'pull/ok');
  await eventually('both agree', async () => (await text(page, '#agreement').catch(() => '')).includes('All devices'));

  // No token is anywhere that a browser keeps.
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, document.documentElement.outerHTML]));
  assert.ok(!kept.includes(ADMIN) && !kept.includes('logseq_status'));
  assert.deepEqual(seen.addresses.filter((address) => address.includes(ADMIN) || !address.startsWith(base)), []);
  const cookies = await page.browserContext().cookies();
  assert.deepEqual(cookies.map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite })), [{ name: 'logseq_status', httpOnly: true, sameSite: 'Strict' }]);

  await page.keyboard.down('Shift');
  await page.keyboard.press('Tab');
  await page.keyboard.up('Shift');
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  assert.ok(await page.$('#token'), 'signed out');
  // The answer to the wrong token is one, and it is the only one.
  assert.deepEqual(seen.errors.filter((error) => !error.includes('401')), []);
  first.close();
  second.close();
  await close();
});

test('it works without its script', async () => {
  const { page, seen, close } = await tab({ script: false });
  await page.goto(base);
  await page.focus('#token');
  await page.keyboard.type(TOKEN);
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  const shown = await page.content();
  assert.ok(shown.includes('id="agreement"') && !shown.includes(TOKEN));
  assert.deepEqual(seen.errors, []);
  await close();
});
