// Answers to requests for a shape (pg-sync.md 2.8).
import { START, isAfter, place } from './shape.mjs';
import { send } from './service.mjs';

const CACHE = {
  beginning: 'public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746',
  now: 'public, max-age=60, stale-while-revalidate=300',
  catchUp: 'public, max-age=60, stale-while-revalidate=300',
  live: 'public, max-age=5, stale-while-revalidate=5',
  sse: 'public, max-age=59',
  rotated: 'public, max-age=60, must-revalidate',
  rotatedWithoutHandle: 'public, max-age=1, must-revalidate',
};

/** 20-second intervals since then, as caches on the way tell requests apart by them. */
const cursor = () => String(Math.floor((Date.now() - Date.UTC(2024, 9, 9)) / 20_000) * 20);

const upToDate = (shape) => ({ headers: { control: 'up-to-date', global_last_seen_lsn: String(place(shape.end)[0]) } });

export async function answerGet(service, request, response, query) {
  const { errors, definition, offset, handle, live, sse, subset } = await read(service, request, query);
  if (errors) return send(response, 400, { message: 'Invalid request', errors });
  if (request.method === 'DELETE') {
    const shape = [...service.shapes.values()].find((of) => of.handle === handle) ?? await existing(service, definition);
    if (!shape) return send(response, 404, { message: 'Shape not found' });
    service.forget(shape);
    return send(response, 202, undefined);
  }
  const shape = await service.shape(definition);
  if (subset) return answerSubset(service, response, shape, subset);
  const isNew = offset === '-1' || offset === 'now';
  if (!isNew && handle !== shape.handle) return rotated(response, shape.handle);
  if (offset === '-1') {
    const { xmin, xmax, xip_list } = shape.snapshot;
    const body = [...shape.rows, { headers: { control: 'snapshot-end', xmin, xmax, xip_list } }];
    return answer(request, response, shape, { body, from: '-1', to: START, cache: CACHE.beginning });
  }
  await service.drain();
  if (shape.isGone) return rotated(response, (await service.shape(definition)).handle);
  if (offset === 'now') {
    return answer(request, response, shape, { body: [upToDate(shape)], from: 'now', to: shape.end, cache: CACHE.now, isUpToDate: true });
  }
  if (isAfter(place(offset), place(shape.end)) && offset !== START) {
    await service.news(() => shape.isGone || !isAfter(place(offset), place(shape.end)), service.options.beyondMs);
    if (isAfter(place(offset), place(shape.end))) return send(response, 400, { message: 'Invalid request', errors: { offset: ['out of bounds for this shape'] } });
  }
  if (live && sse) return stream(service, response, shape, offset);
  if (live) {
    await service.news(() => shape.isGone || shape.after(offset, 1).items.length > 0, service.options.longPollMs);
    if (shape.isGone) return rotated(response, (await service.shape(definition)).handle);
  }
  const { items, isAll } = shape.after(offset, service.options.chunk);
  const body = items.map(({ message }) => message);
  if (isAll) body.push(upToDate(shape));
  return answer(request, response, shape, {
    body, from: offset, to: items.at(-1)?.offset ?? offset, cache: live ? CACHE.live : CACHE.catchUp, isUpToDate: isAll, isLive: live, hasData: items.length > 0,
  });
}

async function existing(service, definition) {
  return [...service.shapes.values()].find((shape) => definition && shape.table.oid === definition.table.oid && shape.log === definition.log);
}

/** What a request asks, or what is wrong with it. */
async function read(service, request, query) {
  const errors = {};
  const wrong = (name, why) => { errors[name] = [why]; };
  const table = query.get('table') ? await service.source.table(query.get('table')) : undefined;
  if (!query.get('table')) wrong('table', "can't be blank");
  else if (!table) wrong('table', `Table ${query.get('table')} does not exist`);
  const offset = query.get('offset') ?? undefined;
  const handle = query.get('handle') ?? undefined;
  const subset = request.method === 'POST' ? JSON.parse(await text(request)) : subsetOf(query);
  if (request.method !== 'DELETE' && !subset) {
    if (offset === undefined) wrong('offset', "can't be blank");
    else if (offset !== '-1' && offset !== 'now' && !place(offset)) wrong('offset', 'has invalid format');
    else if (offset !== '-1' && offset !== 'now' && handle === undefined) wrong('handle', "can't be blank when offset != -1");
  }
  const [live, sse] = ['live', 'live_sse'].map((name) => query.get(name) === 'true');
  if (live && (offset === '-1' || offset === 'now')) wrong('live', "can't be true when offset == -1");
  if (sse && !live) wrong('live_sse', "can't be true unless live is also true");
  const replica = query.get('replica') ?? 'default';
  if (!['default', 'full'].includes(replica)) wrong('replica', 'is invalid');
  const log = query.get('log') ?? 'full';
  if (!['full', 'changes_only'].includes(log)) wrong('log', 'is invalid');
  const columns = query.get('columns')?.match(/"(?:[^"]|"")+"|[^,]+/g)?.map((name) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name));
  if (columns && table) {
    const unknown = columns.filter((name) => !table.columns.some((column) => column.name === name));
    if (unknown.length) wrong('columns', `The following columns are not found on the table: ${unknown.join(', ')}`);
    else if (!table.key.every((name) => columns.includes(name))) wrong('columns', `The list of columns must include all primary key columns`);
  }
  const params = Object.fromEntries([...query].map(([name, value]) => [/^params\[(\d+)\]$/.exec(name)?.[1], value]).filter(([name]) => name));
  const definition = { table, where: query.get('where') ?? undefined, params: Object.keys(params).length ? params : undefined, columns, replica, log };
  if (Object.keys(errors).length) return { errors };
  try {
    if (request.method !== 'DELETE') await service.shape(definition);
  } catch (error) {
    return { errors: { where: [error.message] } };
  }
  return { definition, offset, handle, live, sse, subset };
}

function subsetOf(query) {
  const parts = Object.fromEntries(['where', 'params', 'limit', 'offset', 'order_by'].map((name) => [name, query.get(`subset__${name}`) ?? undefined]));
  if (Object.values(parts).every((part) => part === undefined)) return undefined;
  return { ...parts, params: parts.params && JSON.parse(parts.params) };
}

async function text(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body || '{}';
}

async function answerSubset(service, response, shape, { where, params, limit, offset, order_by: orderBy }) {
  if ((limit ?? offset) !== undefined && !orderBy) return send(response, 400, { message: 'Invalid request', errors: { subset__order_by: ['is needed with limit and offset'] } });
  const { rows, snapshot, lsn } = await service.source.snapshot(shape.table, { where, params, limit, offset, orderBy });
  const snapshot_mark = Math.floor(Math.random() * 2 ** 31);
  const data = rows.filter(shape.matches).map((row) => ({
    key: shape.key(row), value: shape.pick(row), headers: { operation: 'insert', relation: [shape.table.schema, shape.table.name], snapshot_mark },
  }));
  return send(response, 200, { metadata: { ...snapshot, snapshot_mark, database_lsn: lsn }, data }, {
    'cache-control': 'no-cache', 'electric-snapshot': 'true', ...place_(shape, shape.end), 'electric-schema': schema(shape),
  });
}

const place_ = (shape, offset) => ({ 'electric-handle': shape.handle, 'electric-offset': offset });

const schema = (shape) => JSON.stringify(Object.fromEntries(shape.table.columns.filter(({ name }) => shape.names.includes(name)).map(({ name, type, dims, not_null, key_at }) => [name, {
  type, dims: Number(dims), ...(not_null === 't' && { not_null: true }), ...(key_at !== null && { pk_index: Number(key_at) }),
}])));

function rotated(response, handle) {
  return send(response, 409, [{ headers: { control: 'must-refetch' } }], { 'cache-control': handle ? CACHE.rotated : CACHE.rotatedWithoutHandle, ...(handle && { 'electric-handle': handle }) });
}

function answer(request, response, shape, { body, from, to, cache, isUpToDate, isLive, hasData = false }) {
  const etag = `"${shape.handle}:${from}:${to}"`;
  const headers = {
    'content-type': 'application/json; charset=utf-8', 'cache-control': cache, etag, ...place_(shape, to), 'electric-has-data': String(hasData),
    ...(isLive ? { 'electric-cursor': cursor() } : { 'electric-schema': schema(shape) }), ...(isUpToDate && { 'electric-up-to-date': '' }),
  };
  if (request.headers['if-none-match'] === etag && !isLive) return response.writeHead(304, headers).end();
  return response.writeHead(200, headers).end(request.method === 'HEAD' ? '' : JSON.stringify(body));
}

/** Messages as events, until the time is over. */
async function stream(service, response, shape, offset) {
  const { sseMs, keepAliveMs } = service.options;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': CACHE.sse, ...place_(shape, offset), 'electric-cursor': cursor() });
  const tell = (message) => response.write(`data: ${JSON.stringify(message)}\n\n`);
  const keepAlive = setInterval(() => response.write(': keep-alive\n\n'), keepAliveMs);
  const end = Date.now() + sseMs;
  let at = offset;
  let isOpen = true;
  response.once('close', () => { isOpen = false; });
  tell(upToDate(shape));
  while (isOpen && Date.now() < end) {
    if (!await service.news(() => !isOpen || shape.isGone || shape.after(at, 1).items.length > 0, Math.min(1_000, Math.max(0, end - Date.now())))) continue;
    if (shape.isGone) {
      tell({ headers: { control: 'must-refetch' } });
      break;
    }
    for (const { offset: next, message } of shape.after(at, Infinity).items) {
      tell(message);
      at = next;
    }
    tell(upToDate(shape));
  }
  clearInterval(keepAlive);
  response.end();
}
