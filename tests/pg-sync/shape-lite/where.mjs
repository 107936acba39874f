// Conditions that the stand-in understands: `column op constant`, joined by AND.

const TOKEN = /\s*(?:"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z_0-9]*)|'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?)|\$(\d+)|(<>|!=|<=|>=|=|<|>))/y;

/** A function from a row to whether it matches. Throws on anything else than what is understood. */
export function compile(where, params, types) {
  if (!where?.trim()) return () => true;
  const tokens = [];
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < where.trimEnd().length;) {
    const found = TOKEN.exec(where);
    if (!found) throw new Error(`not understood: ${where}`);
    const [, quoted, word, text, number, param, operator] = found;
    tokens.push({ column: quoted?.replaceAll('""', '"') ?? word, word: word?.toUpperCase(), constant: text?.replaceAll("''", "'") ?? number ?? (param && params[param]), operator });
  }
  const tests = [];
  for (let at = 0; at < tokens.length;) {
    if (at > 0 && tokens[at++].word !== 'AND') throw new Error(`AND expected: ${where}`);
    const { column } = tokens[at] ?? {};
    if (!column || !(column in types)) throw new Error(`unknown column ${column}`);
    if (tokens[at + 1]?.word === 'IS') {
      const isNot = tokens[at + 2]?.word === 'NOT';
      tests.push((row) => (row[column] === null) !== isNot);
      at += isNot ? 4 : 3;
      continue;
    }
    const { operator } = tokens[at + 1] ?? {};
    const constant = tokens[at + 2]?.constant ?? tokens[at + 2]?.word?.toLowerCase();
    if (!operator || constant === undefined) throw new Error(`not understood: ${where}`);
    tests.push((row) => row[column] !== null && compare(row[column], operator, constant, types[column]));
    at += 3;
  }
  return (row) => tests.every((test) => test(row));
}

const NUMBERS = new Set(['int2', 'int4', 'int8', 'float4', 'float8', 'numeric']);

function compare(value, operator, constant, type) {
  const [a, b] = NUMBERS.has(type) ? [Number(value), Number(constant)] : [value, constant];
  switch (operator) {
    case '=': return a === b;
    case '<>': case '!=': return a !== b;
    case '<': return a < b;
    case '<=': return a <= b;
    case '>': return a > b;
    default: return a >= b;
  }
}
