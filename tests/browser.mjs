// What the tests of pages share: a headless Chromium, tabs that keep what they asked and complained about, and what is looked for in
// every page. CHROMIUM names the program; SCREENSHOTS a folder for pictures of the pages.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import puppeteer from 'puppeteer-core';

const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const launch = () => puppeteer.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
});

/** A tab of its own, everything that it asked of the network, and what it complained about. */
export async function tabOf(browser, settings = {}) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  if (settings.script === false) await page.setJavaScriptEnabled(false);
  const seen = { addresses: [], errors: [] };
  page.on('request', (request) => seen.addresses.push(request.url()));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('console', (message) => { if (message.type() === 'error') seen.errors.push(message.text()); });
  return { page, seen, close: () => context.close() };
}

export const text = (page, selector) => page.$eval(selector, (element) => element.innerText);

/** No finding of axe that is serious or critical. */
export async function isAccessible(page, name) {
  // The page's policy forbids scripts that are written into it: this one comes through the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`), [], name);
}

export async function picture(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}
