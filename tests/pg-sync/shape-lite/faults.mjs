// What goes wrong with the next requests, by a list.

/** Each gets the response; without one the request is answered as usual afterwards. */
const WAYS = {
  /** `{status, headers?, body?}`. */
  status: (response, { status, headers = {}, body = { message: 'a fault' } }) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body)),
  /** The logs are really gone. */
  rotated: (response, { handle }, service) => {
    [...service.shapes.values()].forEach((shape) => service.forget(shape));
    response.writeHead(409, { 'content-type': 'application/json', 'cache-control': handle ? 'public, max-age=60, must-revalidate' : 'public, max-age=1, must-revalidate', ...(handle && { 'electric-handle': handle }) })
      .end(JSON.stringify([{ headers: { control: 'must-refetch' } }]));
  },
  garbage: (response) => response.writeHead(200, { 'content-type': 'application/json', 'electric-handle': 'x-1', 'electric-offset': '1_0' }).end('<html>no</html>'),
  /** The head, half of the body, and the connection ends. */
  cut: (response) => {
    const { end, writeHead } = response;
    response.writeHead = (status, headers) => writeHead.call(response, status, { ...headers, 'content-length': 1_000_000 });
    response.end = (text = '') => {
      response.write(text.slice(0, text.length / 2));
      response.end = end;
      setTimeout(() => response.destroy(), 20);
      return response;
    };
    return 'goes on';
  },
  reset: (response) => response.socket.resetAndDestroy(),
  /** Nothing, ever. */
  hang: () => {},
  /** The answer comes, byte by byte. */
  slow: (response, { ms = 20 }) => {
    const { end } = response;
    response.end = (text = '') => {
      const bytes = Buffer.from(text);
      const step = (at) => {
        if (at >= bytes.length) return end.call(response);
        response.write(bytes.subarray(at, at + 1));
        return setTimeout(step, ms, at + 1);
      };
      step(0);
      return response;
    };
    return 'goes on';
  },
};

export class Faults {
  constructor(service) {
    this.service = service;
    this.list = [];
  }

  /** What becomes of the next requests, in order: `[{way: 'status', status: 503}, …]`; with `of` of those alone whose address has this text. `before` is done first. */
  script(list) {
    this.list.push(...list);
  }

  /** Whether the request was dealt with. What is kept of it says which fault it met. */
  async strike(request, response, kept) {
    const at = this.list.findIndex(({ of }) => !of || request.url.includes(of));
    if (at < 0) return false;
    const [fault] = this.list.splice(at, 1);
    kept.fault = fault;
    await fault.before?.();
    if (fault.way === 'none') return false;
    return WAYS[fault.way](response, fault, this.service) !== 'goes on';
  }
}
