// What PostgreSQL's plugin `test_decoding` says of a change, read back.

/** A line about a change: `{kind, tables: [[schema, name]…], old?, next?}`; columns by name, as text, null, or UNCHANGED. Undefined for BEGIN and COMMIT. */
export function readLine(line) {
  if (!line.startsWith('table ')) return undefined;
  const reader = new Reader(line, 'table '.length);
  const tables = [];
  do {
    const schema = reader.identifier();
    reader.expect('.');
    tables.push([schema, reader.identifier()]);
  } while (reader.skip(', '));
  reader.expect(': ');
  const kind = reader.until(':');
  if (kind === 'TRUNCATE') return { kind, tables };
  reader.skip(' ');
  if (reader.skip('(no-tuple-data)')) return { kind, tables };
  if (reader.skip('old-key: ')) {
    const old = reader.columns();
    reader.expect('new-tuple: ');
    return { kind, tables, old, next: reader.columns() };
  }
  const columns = reader.columns();
  return kind === 'DELETE' ? { kind, tables, old: columns } : { kind, tables, next: columns };
}

/** A large value that was not changed, and is not in the log. */
export const UNCHANGED = Symbol('unchanged');

class Reader {
  constructor(text, at) {
    this.text = text;
    this.at = at;
  }

  skip(text) {
    const found = this.text.startsWith(text, this.at);
    if (found) this.at += text.length;
    return found;
  }

  expect(text) {
    if (!this.skip(text)) throw new Error(`${text} expected at ${this.at} of ${this.text}`);
  }

  until(text) {
    const end = this.text.indexOf(text, this.at);
    if (end < 0) throw new Error(`${text} expected after ${this.at} of ${this.text}`);
    const part = this.text.slice(this.at, end);
    this.at = end + text.length;
    return part;
  }

  /** Text in quotes, which are doubled within. */
  quoted(quote) {
    let text = '';
    for (;;) {
      text += this.until(quote);
      if (!this.skip(quote)) return text;
      text += quote;
    }
  }

  identifier() {
    if (this.skip('"')) return this.quoted('"');
    const [name] = /^[^.:,[ ]+/.exec(this.text.slice(this.at)) ?? [];
    if (!name) throw new Error(`a name expected at ${this.at} of ${this.text}`);
    this.at += name.length;
    return name;
  }

  columns() {
    const columns = {};
    while (this.at < this.text.length && !this.text.startsWith('new-tuple: ', this.at)) {
      const name = this.identifier();
      this.expect('[');
      // Types of arrays hold brackets themselves.
      this.until(']:');
      columns[name] = this.value();
      this.skip(' ');
    }
    return columns;
  }

  value() {
    if (this.skip("'")) return this.quoted("'");
    if (this.skip("B'")) return this.quoted("'");
    const end = this.text.indexOf(' ', this.at);
    const bare = this.text.slice(this.at, end < 0 ? undefined : end);
    this.at += bare.length;
    if (bare === 'null') return null;
    return bare === 'unchanged-toast-datum' ? UNCHANGED : bare;
  }
}
