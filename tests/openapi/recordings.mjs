// Holds every answer and every event of the recorded conversations with an agents worker (tests/reference/golden/agents) against the
// description of its API. Where the specification decides otherwise than the reference, our answer is looked at.
//
//   node tests/openapi/recordings.mjs      GOLDEN_DIR: another folder of recordings
//
// Exit status 0 when all of them are described.
import fs from 'node:fs';
import path from 'node:path';
import { operationOf, root, wrongAnswer, wrongEvent } from './description.mjs';

const folder = path.resolve(root, process.env.GOLDEN_DIR || 'tests/reference/golden', 'agents');
const counts = { answers: 0, events: 0, problems: 0 };

/** A placeholder for a time is one; whatever stands for something else is let be (`isOpen`). */
function filled(value) {
  if (value === '{{time}}') return 1_700_000_000_000;
  if (Array.isArray(value)) return value.map(filled);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith('debug-')).map(([key, member]) => [key, filled(member)]));
  return value;
}

const at = (value, pointer) => pointer.split('/').slice(1).reduce((inner, key) => inner?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], value);

/** Whether the value at a place, or what it lies in, was left open by the recording. */
function isOpen(value, pointer) {
  const keys = pointer.split('/').slice(1);
  return keys.some((_, index) => /^\{\{[^}]*\}\}$/.test(at(value, `/${keys.slice(0, index + 1).join('/')}`) ?? '')) || /^\{\{[^}]*\}\}$/.test(value);
}

function tell(where, value, problems) {
  for (const { at: place, text } of problems) {
    if (isOpen(value, place)) continue;
    counts.problems += 1;
    console.log(`${where}: ${text}`);
  }
}

function events(where, list) {
  for (const event of list) {
    if (typeof event !== 'object' || event === null || '{{ended}}' in event) continue;
    counts.events += 1;
    const whole = filled(event);
    tell(`${where}: event ${event.type}`, whole, wrongEvent(whole));
  }
}

function answer(where, request, response) {
  for (const [stream, frames] of Object.entries(response.events ?? {})) {
    if (Array.isArray(frames)) events(`${where}: stream ${stream}`, frames.map((frame) => frame.data ?? frame).map((data) => (typeof data === 'string' && data.startsWith('{') ? JSON.parse(data) : data)));
  }
  const method = request?.method ?? 'GET';
  const address = request?.path ?? request?.open;
  if (typeof address !== 'string' || response.status === undefined || ['HEAD', 'OPTIONS'].includes(method)) return;
  // The state of the server is told whatever the method (agents.md 2.1).
  const operation = operationOf(address === '/health' ? 'GET' : method, address.replaceAll(/\{\{[^}]*\}\}/g, 'x'));
  const statuses = [response.status].flat();
  if (!operation) {
    // What is no route is answered 404, and 401 to strangers.
    if (!statuses.some((status) => status === 404 || status === 401)) tell(`${where} ${method} ${address}`, null, [{ at: '', text: `${statuses} without a route` }]);
    return;
  }
  counts.answers += 1;
  if (response.body === undefined) {
    for (const status of statuses) {
      if (!operation.responses[status]) tell(`${where} ${method} ${address}`, null, [{ at: '', text: `status ${status} is not described` }]);
    }
    return;
  }
  const body = filled(response.body);
  for (const status of statuses) tell(`${where} ${method} ${address} ${status}`, body, wrongAnswer(operation, status, body));
}

// What is wrong is found.
const session = operationOf('GET', '/sessions/x');
for (const [status, body] of [[200, {}], [200, { error: 'not found' }], [404, { error: 'gone' }], [418, { error: 'not found' }]]) {
  if (!wrongAnswer(session, status, body).length) throw new Error(`${status} ${JSON.stringify(body)} counts as described`);
}
if (!wrongEvent({ 'event-id': 'e', 'session-id': 's', type: 'audit.log', ts: 1, data: {} }).length) throw new Error('an event without its data counts as described');

for (const name of fs.readdirSync(folder).filter((file) => file.endsWith('.jsonl')).sort()) {
  const [, ...steps] = fs.readFileSync(path.join(folder, name), 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  for (const step of steps) answer(`${name} ${step.step}`, step.request, step.port?.response ?? step.response ?? {});
}
console.log(`${counts.answers} answers and ${counts.events} events, ${counts.problems} of them not as described`);
if (!counts.answers || !counts.events) throw new Error(`no recordings in ${folder}`);
process.exit(counts.problems ? 1 : 0);
