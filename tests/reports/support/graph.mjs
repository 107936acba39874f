// What the reports share: requests to the server under test, a graph to try things on, and items of Logseq entities.
export const BASE = (process.env.BASE_URL || 'http://127.0.0.1:8787').replace(/\/$/, '');
export const TOKEN = process.env.TOKEN || 'choose-a-long-secret';

/** One request of the static user; the answer as JSON, null where it is none. */
export async function call(method, path, body) {
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
  const answer = await fetch(BASE + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, json: await answer.json().catch(() => null) };
}

/** Prints the verdict, and ends the process with the matching exit code. */
export function done(right, text) {
  console.log(`${right ? 'ok' : 'FAIL'} ${text}`);
  process.exitCode = right ? 0 : 1;
}

/** A new graph; `send` gives the answer to one entry. */
export async function newGraph() {
  const made = await call('POST', '/graphs', { 'graph-name': `report ${crypto.randomUUID()}`, 'graph-e2ee?': false });
  if (made.status !== 200) throw new Error(`POST /graphs: ${made.status}`);
  const id = made.json['graph-id'];
  let t = 0;
  const send = async (op, items, before = t) => {
    const txs = [{ tx: JSON.stringify(items), 'tx-id': crypto.randomUUID(), 'outliner-op': op }];
    const { json } = await call('POST', `/sync/${id}/tx/batch`, { 't-before': before, txs });
    t = json.t ?? t;
    return json;
  };
  const log = async (since) => (await call('GET', `/sync/${id}/pull?since=${since}`)).json.txs.map((row) => row.tx);
  const blocks = async () => (await call('GET', `/sync/${id}/checksum/diagnostics`)).json.blocks;
  return { id, send, log, blocks, forget: () => call('DELETE', `/graphs/${id}`), get t() { return t; }, set t(to) { t = to; } };
}

export const uuid = () => crypto.randomUUID();
export const at = (id) => ['~:block/uuid', `~u${id}`];
export const add = (e, a, v) => ['~:db/add', e, `~:block/${a}`, v];
export const page = (id, title) => [add(id, 'uuid', `~u${id}`), add(id, 'title', title), add(id, 'name', title.toLowerCase()), add(id, 'created-at', 1), add(id, 'updated-at', 1)];
export const block = (id, of, order, title) => [add(id, 'uuid', `~u${id}`), add(id, 'title', title), add(id, 'page', at(of)), add(id, 'parent', at(of)), add(id, 'order', order), add(id, 'created-at', 1), add(id, 'updated-at', 1)];
