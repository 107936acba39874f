// What a client makes of Transit texts: Logseq's own reader and writer, in ClojureScript, with DataScript's handlers.
//
//   node tests/clients/verdicts.mjs            writes verdicts.jsonl, which shared/transit/tests/clients.rs compares with
//   node tests/clients/verdicts.mjs --check    fails if it is not what clients say
//
// A line is a text and its verdict. false: it is refused. null: it is read, but cannot be written so that it can be read
// again. true: it is written as it was. A text: it is written as this text.

// A date without a time zone is read in the local zone. This zone differs from all zones in the texts, so that such a
// date cannot give the expected instant by chance.
process.env.TZ = 'Asia/Kathmandu';

import fs from 'node:fs';
import { loadString } from '@logseq/nbb-logseq';
import { forms } from './forms.mjs';

const FILE = new URL('verdicts.jsonl', import.meta.url);

const [read, write] = await loadString(`
  (ns clients.verdicts
    (:require [cognitect.transit :as transit]
              [datascript.transit :as dt]))

  (def read-handlers
    (assoc dt/read-handlers
           "datascript/Entity" identity
           "error" (fn [m] (ex-info (:message m) (:data m)))
           "js/Error" (fn [m] (js/Error. (:message m)))))

  (def write-handlers
    (assoc dt/write-handlers
           ExceptionInfo (transit/write-handler (constantly "error") (fn [e] {:message (ex-message e) :data (ex-data e)}))
           js/Error (transit/write-handler (constantly "js/Error") (fn [e] {:message (ex-message e)}))))

  ;; New ones each time: what is left in a reader's cache can be read by the next text.
  #js [(fn [text] (transit/read (transit/reader :json {:handlers read-handlers}) text))
       (fn [value] (transit/write (transit/writer :json {:handlers write-handlers}) value))]`);

const attempt = (f) => { try { return { value: f() }; } catch { return null; } };

/**
 * Whether something was written into what all objects share, which breaks the client that does so: a writer keeps its cache
 * in a plain object, and takes what that inherits for entries. Only `__proto__` does harm at once.
 */
function polluted() {
  const clear = (object) => Object.keys(object).filter((name) => delete object[name]).length;
  Object.getOwnPropertyNames(Object.prototype).map((name) => Object.prototype[name]).filter((value) => typeof value === 'function').forEach(clear);
  return clear(Object.prototype) > 0;
}

function verdict(text) {
  const value = attempt(() => read(text));
  if (!value) return [text, false];
  const written = attempt(() => write(value.value));
  const harmful = polluted();
  const again = written && attempt(() => write(read(written.value)));
  polluted();
  if (!again || harmful) return [text, null];
  return [text, written.value === text || written.value];
}

const lines = forms().map((text) => JSON.stringify(verdict(text)));
const content = `${lines.join('\n')}\n`;
if (!process.argv.includes('--check')) fs.writeFileSync(FILE, content);
else if (fs.readFileSync(FILE, 'utf8') !== content) {
  console.error('verdicts.jsonl is not what clients say: make it again with node tests/clients/verdicts.mjs');
  process.exitCode = 1;
}
console.log(`${lines.length} forms`);
