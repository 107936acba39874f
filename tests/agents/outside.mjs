// Takes the agents worker's place (`--wrapper`) for tests: requests to E2B's hosts, which no name server here knows, go to the
// stand-in of E2B, and the clock's event is sent by a request. The worker is the built bundle as it is.
//
//   E2B_TEST_SERVER       the address of the stand-in
//   AGENT_TEST_COUNTERS   there is a dataset of Analytics Engine, which writes its points to the log
//   POST /test/scheduled  what the runtime does at the times of `crons`; answers when it is done
//   POST /test/sql        a statement for the agents' database; answers its rows
import { env } from 'cloudflare:workers';
import * as bundle from './index.js';

export * from './index.js';

const fetchOutside = globalThis.fetch;
const ofE2b = `.${env.E2B_DOMAIN ?? 'e2b.app'}`;

globalThis.fetch = (input, init) => {
  const request = new Request(input, init);
  const url = new URL(request.url);
  if (!url.hostname.endsWith(ofE2b)) return fetchOutside(request);
  const there = new Request(`${env.E2B_TEST_SERVER}${url.pathname}${url.search}`, request);
  there.headers.set('x-e2b-host', url.hostname);
  return fetchOutside(there);
};

const counted = { writeDataPoint: (point) => console.log(`counted ${JSON.stringify(point)}`) };

export class AgentSessionDO extends bundle.AgentSessionDO {
  constructor(state, bindings) {
    super(state, bindings.AGENT_TEST_COUNTERS ? { ...bindings, AGENT_METRICS: counted } : bindings);
  }
}

export default class extends bundle.default {
  async fetch(request) {
    switch (new URL(request.url).pathname) {
      case '/test/scheduled':
        await super.scheduled({ cron: '*/30 * * * *', scheduledTime: Date.now(), noRetry() {} });
        return new Response(null, { status: 204 });
      case '/test/sql':
        return Response.json((await env.AGENTS_DB.prepare(await request.text()).all()).results);
      default:
        return super.fetch(request);
    }
  }
}
