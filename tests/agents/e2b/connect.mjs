// The Connect protocol with JSON, as far as envd needs it: unary calls and streams of the server.

/** Bit of an envelope's first byte: it is compressed, which nobody asked for; it ends the stream. */
const COMPRESSED = 1;
const LAST = 2;

/** HTTP statuses of the codes that occur. */
const STATUS = { invalid_argument: 400, unauthenticated: 401, not_found: 404, already_exists: 409, failed_precondition: 400, unimplemented: 501, internal: 500, unavailable: 503 };

export class ConnectError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }

  get status() {
    return STATUS[this.code] ?? 500;
  }

  get body() {
    return { code: this.code, message: this.message };
  }
}

/** The one message of a request to a method that streams. */
export function readEnvelope(bytes) {
  if (bytes.length < 5) throw new ConnectError('invalid_argument', 'no envelope');
  if (bytes[0] & COMPRESSED) throw new ConnectError('internal', 'sent compressed message without compression support');
  const length = bytes.readUInt32BE(1);
  if (bytes.length !== 5 + length) throw new ConnectError('invalid_argument', `protocol error: promised ${length} bytes in enveloped message, got ${bytes.length - 5} bytes`);
  return JSON.parse(bytes.subarray(5).toString('utf8'));
}

function envelope(flags, message) {
  const text = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, text]);
}

/** A stream of messages to a client. */
export class Outgoing {
  constructor(response) {
    this.response = response;
    response.writeHead(200, { 'content-type': 'application/connect+json' });
  }

  send(message) {
    this.response.write(envelope(0, message));
  }

  end(error) {
    this.response.end(envelope(LAST, error ? { error: error.body } : {}));
  }
}
