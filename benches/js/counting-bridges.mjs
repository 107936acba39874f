// Takes the agents worker's place and counts what its bridges cost: `cargo xtask serve --worker agents --wrapper counting-bridges.mjs`.
//   GET /cost    requests of the objects of bridges (alarms too; what they ask of a shape service is none), rows that were written, and milliseconds in which
//                an object could not rest: while it was asked, and while a request of its own to a shape service was under way.
import * as bundle from './index.js';
import { counted, tally } from './counted.mjs';

export * from './index.js';

let requests = 0;
let busyMs = 0;

async function timed(work) {
  const begun = Date.now();
  try {
    return await work();
  } finally {
    busyMs += Date.now() - begun;
  }
}

const fetchOutside = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const request = new Request(input, init);
  // Sessions have requests of their own.
  if (new URL(request.url).pathname !== '/v1/shape') return fetchOutside(request);
  return timed(async () => {
    const answer = await fetchOutside(request);
    // The answer is there when its body is.
    return new Response(await answer.arrayBuffer(), answer);
  });
};

/** The object of a bridge, given a storage that counts. */
export class PgSyncBridgeDO {
  #object;

  constructor(context, env) {
    this.#object = new bundle.PgSyncBridgeDO(counted(context), env);
  }

  fetch(request) {
    requests += 1;
    return timed(() => this.#object.fetch(request));
  }

  alarm() {
    requests += 1;
    return timed(() => this.#object.alarm());
  }
}

export default class extends bundle.default {
  async fetch(request) {
    if (new URL(request.url).pathname !== '/cost') return super.fetch(request);
    return Response.json({ requests, rows: tally().rows, busyMs });
  }
}
