// Reads logs of bridges with the official client of durable streams, whoever serves them.
import assert from 'node:assert/strict';
import { stream } from '@durable-streams/client';

/** How long events may take to come. */
const LIMIT_MS = 60_000;

/** Headers of every answer, that keep it from being taken for something else. */
export const HEADERS = ['x-content-type-options', 'cross-origin-resource-policy', 'access-control-allow-origin', 'access-control-expose-headers'];

/** Fails unless a server has nothing of what the published suite writes streams by: that is in builds for tests alone (pg-sync.md 6.1). */
export async function writesNothing(ask) {
  for (const method of ['PUT', 'POST', 'PATCH', 'DELETE', 'GET', 'HEAD']) {
    for (const path of ['/v1/stream/x', '/v1/stream/x/y', '/v1/stream/']) {
      const hasBody = ['PUT', 'POST', 'PATCH'].includes(method);
      const answer = await ask(path, { method, headers: { 'content-type': 'application/json' }, ...(hasBody && { body: '[1]' }) });
      assert.equal(answer.status, 404, `${method} ${path}`);
      await answer.arrayBuffer();
    }
  }
}

/** The ids of the rows that events tell of. */
export const ids = (events) => events.map(({ value }) => value.value.id);

/** Reads until there are so many events; `log` is what the server has printed, told where they do not come. */
export async function follow(url, { authorization, live, count, offset, log }) {
  const response = await stream({ url, offset, live, headers: { authorization } });
  const events = [];
  await new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`${live}: ${JSON.stringify(events)} ${log().slice(-2_000)}`)), LIMIT_MS);
    response.subscribeJson(async ({ items }) => {
      events.push(...items);
      if (events.length >= count) { clearTimeout(timer); done(); }
    });
  });
  response.cancel();
  return events;
}
