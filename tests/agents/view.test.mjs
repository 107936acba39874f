// The pages for people (agents.md 20.9) in a real browser: a headless Chromium reads a session of the built worker, whose agent
// says hostile things. CHROMIUM names the program; SCREENSHOTS a folder for pictures of the pages.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { isAccessible, launch, picture, tabOf, text } from '../browser.mjs';
import { Client, eventually } from './client.mjs';
import { SandboxAgent, TOKEN, Worker } from './processes.mjs';

let agent; let worker; let client; let browser;

before(async () => {
  agent = await SandboxAgent.start({});
  worker = await Worker.start(agent.url, { env: { LOCAL_RUNNER_ALLOW_PRIVATE: '1' } });
  client = new Client(worker.base);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await worker?.stop();
  await agent?.stop();
});

const tab = (settings) => tabOf(browser, settings);

const hasText = (page, selector, wanted) => eventually(`${selector} says ${wanted}`, async () => (await text(page, selector).catch(() => '')).includes(wanted));

test('a session is read, steered and approved by keyboard', async () => {
  const session = await client.create();
  const { page, seen, close } = await tab();
  await page.goto(`${worker.base}/sessions/${session.id}/view?token=${TOKEN}&x=1`);
  await hasText(page, '#facts', 'created');
  assert.equal(await page.evaluate(() => location.search), '?x=1', 'the token left the address');
  assert.deepEqual(seen.addresses.filter((address) => address.includes(TOKEN)).length, 1, 'only the page itself was asked for with it');
  assert.equal(await text(page, '#title'), 'Fix the tests');

  await page.focus('#message');
  await page.keyboard.type('think deeply ; say **Bold** and `code` ; tool');
  await page.keyboard.down('Control');
  await page.keyboard.press('Enter');
  await page.keyboard.up('Control');
  await hasText(page, '#log', 'Turn ended: end_turn');
  assert.equal(await text(page, '#log .agent strong'), 'Bold');
  assert.equal(await text(page, '#log .agent .markdown code'), 'code');
  assert.equal(await page.$eval('#log details.reasoning', (element) => element.open), false, 'reasoning is folded');
  assert.equal(await text(page, '#log .tool .state'), 'completed');
  await hasText(page, '#budget', 'turns');
  await picture(page, 'session');
  await isAccessible(page, 'session');

  // The agent asks: the question comes up by itself and is answered with the keyboard alone.
  await session.say('ask');
  await page.waitForSelector('#approvals:not([hidden]) button.allow');
  await picture(page, 'approval');
  await isAccessible(page, 'approval');
  await page.focus('#approvals button.allow');
  await page.keyboard.press('Enter');
  await hasText(page, '#log', 'allowed');
  await page.waitForSelector('#approvals[hidden]', { hidden: true });

  await page.focus('[data-verb=pause]');
  await page.keyboard.press('Enter');
  await hasText(page, '#facts', 'paused');
  assert.deepEqual(seen.errors, []);
  await close();
});

test('what an agent says is never code, and nothing is fetched for it', async () => {
  const session = await client.create();
  const { page, seen, close } = await tab();
  await page.goto(`${worker.base}/sessions/${session.id}/view?token=${TOKEN}`);
  await hasText(page, '#facts', 'created');
  const hostile = [
    '<img src=https://evil.test/i onerror=window.hit=1>', '<script>window.hit=1</script>', '[go](javascript:window.hit=1)',
    '![pixel](https://evil.test/pixel)', '<a href="javascript:window.hit=1" autofocus onfocus=window.hit=1>x</a>',
    '[data](data:text/html,<script>parent.hit=1</script>)', '<style>body{display:none}</style>', '<base href=https://evil.test/>',
    `${'> '.repeat(200)}deep`, '[web](https://example.test/)',
  ];
  for (const said of hostile) await session.say(`say ${said.replaceAll(';', ',')}`);
  await eventually('all was said', async () => (await page.$$('#log .agent')).length >= hostile.length);
  for (const anchor of await page.$$('#log a')) {
    const { protocol, rel } = await anchor.evaluate((element) => ({ protocol: element.protocol, rel: element.rel }));
    assert.ok(['https:', 'http:'].includes(protocol), protocol);
    assert.equal(rel, 'noopener noreferrer');
    await anchor.evaluate((element) => { element.target = ''; element.addEventListener('click', (event) => event.preventDefault()); element.click(); });
  }
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.equal(await page.$('#log img, #log script, #log style, #log base, #log iframe'), null);
  assert.deepEqual(seen.addresses.filter((address) => !address.startsWith(worker.base) && !address.startsWith('data:,')), []);
  assert.deepEqual(seen.errors, []);
  await isAccessible(page, 'hostile');
  await close();
});

test('what a session changed is shown as lines of text', async () => {
  // A runner is this machine: the session works in a folder below its own.
  const folder = path.join(agent.folder, 'lent');
  const runner = await client.ask('POST', '/runners', { 'runner-id': 'here', 'base-url': agent.url, 'workspace-dir': folder });
  assert.equal(runner.status, 200, runner.text);
  const session = await client.create({ 'runtime-provider': 'local-runner' });
  const tree = path.join(folder, fs.readdirSync(folder)[0]);
  const git = (...words) => execFileSync('git', ['-c', 'user.name=Ann', '-c', 'user.email=ann@example.test', ...words], { cwd: tree });
  git('init', '--quiet');
  fs.writeFileSync(path.join(tree, 'kept.txt'), 'one\ntwo\n');
  git('add', '-A');
  git('commit', '--quiet', '-m', 'first');
  fs.writeFileSync(path.join(tree, 'kept.txt'), 'one\nthree\n');
  fs.writeFileSync(path.join(tree, '<img src=x onerror=hit=1>.html'), '<script>window.hit = 1</script>\n');
  const { page, seen, close } = await tab();
  await page.goto(`${worker.base}/sessions/${session.id}/view?token=${TOKEN}`);
  await hasText(page, '#facts', 'created');
  await page.focus('#changes summary');
  await page.keyboard.press('Enter');
  await hasText(page, '#changes', '+three');
  assert.deepEqual(await page.$$eval('#changes .diff-removed', (lines) => lines.map((line) => line.textContent)), ['-two\n']);
  assert.deepEqual(await page.$$eval('#changes li', (files) => files.map((file) => file.textContent)), ['<img src=x onerror=hit=1>.html added, +1 −0', 'kept.txt modified, +1 −1']);
  await hasText(page, '#changes', '+<script>window.hit = 1</script>');
  assert.equal(await page.$('#changes img, #changes script'), null);
  assert.equal(await page.evaluate(() => window.hit), undefined);
  await picture(page, 'changes');
  await isAccessible(page, 'changes');
  // The next turn's end shows what is new.
  fs.writeFileSync(path.join(tree, 'kept.txt'), 'one\nfour\n');
  await session.say('say done');
  await hasText(page, '#changes', '+four');
  const listed = await session.ok('GET', '/files');
  assert.deepEqual(listed.entries.map(({ name }) => name), ['<img src=x onerror=hit=1>.html', 'kept.txt']);
  assert.equal((await session.ask('GET', '/files?path=kept.txt')).text, 'one\nfour\n');
  assert.deepEqual(seen.errors, []);
  await close();
});

test('it is read on a telephone, and in the dark', async () => {
  const session = await client.create();
  await session.say('tool ; say | a | b | c |');
  const { page, close } = await tab();
  await page.setViewport({ width: 360, height: 740, isMobile: true, hasTouch: true });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await page.goto(`${worker.base}/sessions/${session.id}/view?token=${TOKEN}`);
  await hasText(page, '#log', 'Turn ended');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
  await picture(page, 'telephone');
  await isAccessible(page, 'telephone');
  await close();
});

test('an observer watches and has no controls', async () => {
  const session = await client.create();
  const { token } = await session.ok('GET', '/observer-token');
  const { page, close } = await tab();
  await page.goto(`${worker.base}/sessions/${session.id}/view?token=${token}`);
  await hasText(page, '#facts', 'created');
  assert.equal(await page.$eval('#controls', (element) => element.hidden), true);
  await close();
});

test('without a token the page asks for one, and again for another', async () => {
  const session = await client.create();
  const { page, close } = await tab();
  await page.goto(`${worker.base}/sessions/${session.id}/view`);
  await page.waitForSelector('#token-dialog[open]');
  await isAccessible(page, 'sign in');
  await page.keyboard.type('not-a-token');
  await page.keyboard.press('Enter');
  await hasText(page, '#token-problem', 'not accepted');
  await page.keyboard.type(TOKEN);
  await page.keyboard.press('Enter');
  await hasText(page, '#facts', 'created');
  await page.waitForSelector('#controls:not([hidden])');
  assert.equal(await page.$eval('#token-dialog', (element) => element.open), false, 'nobody asks again');
  await close();
});

test('a stream that breaks off is told, and goes on without a gap', async () => {
  const session = await client.create();
  const { page, close } = await tab();
  await page.goto(`${worker.base}/sessions/${session.id}/view?token=${TOKEN}`);
  await session.say('say before');
  await hasText(page, '#log', 'Turn ended');
  await worker.kill();
  await hasText(page, '#connection', 'lost');
  await worker.run();
  await session.say('say after');
  await eventually('it goes on', async () => (await text(page, '#log')).includes('after'), 30_000);
  const log = await text(page, '#log');
  assert.equal(log.split('Created by').length, 2, 'nothing is shown twice');
  assert.equal(await text(page, '#connection'), '');
  await close();
});

test('the list leads to sessions', async () => {
  const session = await client.create({ 'node-title': 'Seen in the list' });
  const { page, seen, close } = await tab();
  await page.goto(`${worker.base}/sessions/view?token=${TOKEN}`);
  await hasText(page, '#sessions', 'Seen in the list');
  await picture(page, 'list');
  await isAccessible(page, 'list');
  await page.evaluate((id) => document.querySelector(`a[href="/sessions/${id}/view"]`).click(), session.id);
  await hasText(page, '#title', 'Seen in the list');
  assert.deepEqual(seen.errors, []);
  await close();
});

test('pages are answered with a policy that lets nothing else in', async () => {
  const answer = await fetch(`${worker.base}/sessions/view`);
  assert.match(answer.headers.get('content-security-policy'), /^default-src 'none'; script-src 'self';/);
  assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
  assert.equal(answer.headers.get('cache-control'), 'no-store');
  assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  assert.equal((await fetch(`${worker.base}/sessions/view/assets/0000000000000000/api.js`)).status, 404);
});
