// Canaries: values that are found wherever they turn up, whatever form they have taken.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** A value that nothing else has. */
export const canary = (prefix = '') => `${prefix}${crypto.randomBytes(24).toString('hex')}`;

/** The middle of what a secret becomes in base64 behind so many other bytes: the characters that hold nothing but its bits. */
const inBase64 = (secret, before) => {
  const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)]);
  return bytes.toString('base64').slice(Math.ceil((before * 8) / 6), Math.floor((bytes.length * 8) / 6));
};

/** All forms: plain, hexadecimal, URL, base64 in its three alignments, and each of them with the characters of URLs. */
export function forms(secret) {
  const hex = Buffer.from(secret).toString('hex');
  const base64 = [0, 1, 2].map((before) => inBase64(secret, before));
  const url = encodeURIComponent(secret);
  return [...new Set([secret, hex, hex.toUpperCase(), url, ...base64, ...base64.map((it) => it.replaceAll('+', '-').replaceAll('/', '_'))])];
}

/** Secrets that are looked for, by their names; each may be several texts. */
export class Canaries {
  constructor(secrets) {
    this.forms = Object.entries(secrets).flatMap(([name, values]) => [values].flat().flatMap((value) => forms(value).map((form) => [name, form])));
  }

  /** The names of those that stand in a text. */
  in(text) {
    return [...new Set(this.forms.filter(([, form]) => text.includes(form)).map(([name]) => name))];
  }

  /** Where each was found in places, {place: text}, as `name in place`. */
  found(places) {
    return Object.entries(places).flatMap(([place, text]) => this.in(text).map((name) => `${name} in ${place}`));
  }
}

/** All files below a folder with their content, by their paths below it. Links are not followed. */
export function filesBelow(folder) {
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(entries.map((entry) => {
    const file = path.join(entry.parentPath ?? entry.path, entry.name);
    return [path.relative(folder, file), fs.readFileSync(file, 'latin1')];
  }));
}

/** Arguments and environments of living processes, by their numbers; one that has ended meanwhile has none. */
export function processTexts(pids) {
  const read = (pid, name) => { try { return fs.readFileSync(`/proc/${pid}/${name}`, 'latin1'); } catch { return ''; } };
  return {
    arguments: Object.fromEntries(pids.map((pid) => [pid, read(pid, 'cmdline')])),
    environments: Object.fromEntries(pids.map((pid) => [pid, read(pid, 'environ')])),
  };
}
