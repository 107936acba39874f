// Takes the sync worker's place and counts what its graphs write: `cargo xtask serve --worker sync --wrapper counting.mjs`.
//   GET /written    rows that were written, and bytes of the texts in them
import * as bundle from './index.js';
import { counted, tally } from './counted.mjs';

/** The graph's object, given a storage that counts. */
export class SyncDO {
  #object;

  constructor(context, env) {
    this.#object = new bundle.SyncDO(counted(context), env);
  }

  fetch(request) {
    return this.#object.fetch(request);
  }

  alarm() {
    return this.#object.alarm();
  }

  webSocketMessage(socket, message) {
    return this.#object.webSocketMessage(socket, message);
  }

  webSocketClose(socket, code, reason, wasClean) {
    return this.#object.webSocketClose(socket, code, reason, wasClean);
  }

  webSocketError(socket, error) {
    return this.#object.webSocketError(socket, error);
  }
}

export default class extends bundle.default {
  async fetch(request) {
    if (new URL(request.url).pathname !== '/written') return super.fetch(request);
    return Response.json(tally());
  }
}
