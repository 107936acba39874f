// Transit texts of every form that a client could send, well-formed or not: always the same ones, in the same order.

const json = JSON.stringify;

const UUID = '66b8d8f0-0000-4000-8000-00000000000a';

/** Tags of one character that mean something to a reader or a writer, and some that do not. */
const KNOWN = [..."_?bcdfimnrtuz:$'s"];
const OTHER = [...'#~^`XaBkl0-* /"\\é😀'];

/** Texts to stand under a tag. */
const TEXTS = [
  '', 'A', 'AA', 'AAA', 'AAE=', 'AAF=', 'AA==', 'AB==', 'A===', '====', '=', '!', 'A A=', 'AAE', 'AAE=\n', '+/+/', '-_-_', 'é',
  '0', '1', '-1', '+1', '-', '--1', '1-', '1.5', '1.', '.5', '-.5', '1e3', '1E3', '1e400', '-1e400', '1e-7', '1e+21', '1e-400', '007', '-0', '+', '.',
  '1234567.5', '12345678.5', '-829.59375', '9007199254740993.5', '9007199254740993e-1', '9007199254740993-5', '1-2', '12345678+5', '1_000', '123456789', '9007199254740991', '9007199254740992', '-9007199254740992', '-9007199254740993',
  '9223372036854775807', '9223372036854775808', '-9223372036854775808', '-9223372036854775809', '18446744073709551617', '99999999999999999999', '-99999999999999999999',
  '0x10', '010', ' 1', '1 ', '1,5', '１', 'NaN', 'INF', '-INF', '+INF', 'Infinity', '-Infinity', 'nan', 'inf', 'null',
  't', 'f', 'true', 'x', 'foo', 'foo bar', 'a/b', '/', 'a/b/c', 'a/', '/a', '中/文', '\u0000', '\ud800', '😀', '~x', '^x', '^0', '`x', '~', '^', '~:a', '~#set', '#set',
  UUID, UUID.toUpperCase(), `{${UUID}}`, UUID.replaceAll('-', ''), `${UUID}0`, UUID.slice(1), 'İ', 'ΑΣ', 'not-a-uuid',
  '8640000000000000', '8640000000000001', '-8640000000000000', '-8640000000000001', '1577934245678', '1577934245678.9', 'now',
  'constructor', '__proto__',
];

const DATES = [
  '2020-01-02T03:04:05.678Z', '2020-01-02T03:04:05.6789Z', '2020-01-02T03:04:05.6Z', '2020-01-02T03:04:05.67Z', '2020-01-02T03:04:05Z', '2020-01-02T03:04Z', '2020-01-02T03Z',
  '2020-01-02T03:04:05.678+01:30', '2020-01-02T03:04:05.678-01:30', '2020-01-02T03:04:05.678+0130', '2020-01-02T03:04:05+24:00', '2020-01-02T03:04:05+23:59', '2020-01-02T03:04:05-00:00', '2020-01-02T03:04:05+01',
  '2020-01-02T03:04:05.678', '2020-01-02T03:04:05', '2020-01-02T03:04', '2020-01-02', '2020-01', '2020', '2020-1-2', '2020-01-02T', '2020-01-02Z',
  '2020-01-02t03:04:05z', '2020-01-02 03:04:05Z', '2020-01-02 03:04:05', '2020-01-02T03:04:05z', '2020-01-02T03:04:05.Z', '2020-01-02T03:04:05Zx',
  '2020-00-01', '2020-13-01', '2020-01-00', '2020-01-32', '2020-02-29', '2020-02-30', '2020-02-30T00:00:00Z', '2019-02-29', '2019-02-29T00:00:00Z', '2020-04-31', '2020-04-31T00:00:00Z', '2100-02-29', '2000-02-29',
  '2000-02-29T24:00:00Z', '2000-02-29T24:00:01Z', '2000-02-29T25:00:00Z', '2000-02-29T23:60:00Z', '2000-02-29T23:59:60Z', '2000-02-29T24:00:00.001Z',
  '0000-01-01', '0001-01-01T00:00:00Z', '0099-01-01', '9999-12-31T23:59:59.999Z', '-000001-01-01T00:00:00Z', '-000000-01-01', '+000000-01-01', '+002020-01-02', '+2020-01-02', '-2020-01-02', '12020-01-02',
  '+275760-09-13T00:00:00.000Z', '+275760-09-13T00:00:00.001Z', '+275760-09-14', '-271821-04-20', '-271821-04-19', '+999999-12-31', 'Thu, 02 Jan 2020 03:04:05 GMT', 'Jan 2 2020', 'soon', '', '1577934245678', '2020-W01-1', '２020-01-02',
  '2020-01-02T03:04:05.678901234567890Z', '1969-12-31T23:59:59.999Z', '1969-12-31T23:59:59.9999Z', ' 2020-01-02', '2020-01-02 ', '2020-01-02T03:04:05 Z', '2020-01-02T03:04:05 +01:00', '2020-01-02T+1:00:00Z',
];

/** Long tags: those of handlers and of writers, those that every JavaScript object knows, and unknown ones. */
const LONG = [
  'set', 'list', 'cmap', 'with-meta', 'link', 'array', 'map', 'string', 'number', 'null', 'boolean', 'error', 'js/Error', 'datascript/Datom', 'datascript/DB', 'datascript/Entity',
  'point', 'ratio', 'uuid', '', 'é', '😀', '^ ', 'set ', 'a"b', 'constructor', 'toString', 'toLocaleString', 'valueOf', 'hasOwnProperty', 'isPrototypeOf', 'propertyIsEnumerable', '__proto__', '__defineGetter__', '__defineSetter__', '__lookupGetter__', '__lookupSetter__', 'prototype', 'length', 'default',
];

/** Values to stand under a long tag, or anywhere, as JSON texts. */
const VALUES = [
  'null', 'true', 'false', '0', '1', '-1', '1.5', '-0', '1e400', '1e21', '12345678901234567890', '""', '"x"', '"t"', '"1"', '"abc"', '"AAE="', '"!"', '"INF"', '"a/b"', '"~:a"', '"~:a/b"', '"~$a"', '"~~x"', `"~u${UUID}"`, '"~m1"', '"~b!"', '"~zfoo"', '"~i"', '"~n1"', '"2020-01-02"', `"${UUID}"`,
  '[]', '[null]', '[1]', '[1,2]', '[1,1]', '[1,2,3]', '[1,2,3,4]', '[1,2,3,4,5]', '[1,2,3,4,5,6]', '["a","b"]', '["~:a",1]', '[[1],2]', '[[1],null]', '[[[1],2],null]', '[[],{}]', '["a",null]', '["~:a",null]', '["~$a",null]', '[null,null]', '[1,null]', '["~m1",null]', `["~u${UUID}",null]`, '[["~#set",[1]],null]', '[["~#list",[1]],{"~:m":1}]', '[{"~:a":1},{"~:m":1}]', '[["~#cmap",[[1],2]],1]', '[["~#point",1],null]', '[["~#\'",[1]],null]', '[[1],["~#set",5]]', '[[1],"~b!"]', '[[1],null,3]',
  '[1,"~:a",2,536870913]', '[1,"~:a",2,536870913,true]', '[1,"~:a",2,536870913,false]', '[1,"~:a",2]', '[1,"~:a"]', '[1,"a",[2],3]', '["x",null,null,null]', '[1,"~:a",2,536870913,true,1]', '[1,"~:a",["~#set",[5]],7]', '[2,-1]', '[-7640891576956012809,8371]',
  '["~#set",[1]]', '["~#list",[1,2]]', '["~#\'",1]', '["~#\'",[1]]', `["~#u","${UUID}"]`, '["~#point",[1,2]]', '["~#cmap",[[1],2]]', '["^ "]', '["^ ","~:a",1]', '["^ ","~:a",1,"~:b"]', '["^ ","a",1,"a",2]', '["^ ","__proto__",1]', '["^ ",[1],2]', '["^ ",null,1]', '["^ ",1,2]', '["^ ",["~#set",[1]],2]', '["^ ","~b!",1]', '["^ ","~#set",1]',
  '{}', '{"~:a":1}', '{"a":1,"b":2,"c":3}', '{"~#set":[1]}', '{"~#\'":1}', '{"__proto__":1}', '{"constructor":1}', '{"~b!":1}', '{"~#set":[1],"b":2}', '{"a":1,"~#set":[1]}',
  '["^ ","~:message","m","~:data",["^ ","~:a",1]]', '["^ ","~:message","m"]', '["^ ","~:message",null,"~:data",null]', '["^ ","message","m"]', '["^ ","~:db/id",5]', '["^ ","~:schema",null,"~:datoms",[]]', '["^ ","~:schema",["^ "],"~:datoms",["~#list",[[1,"~:a",2,536870913]]]]',
];

/** A text under a tag in every place where it can stand. */
function* places(tag, text) {
  const short = json(`~${tag}${text}`);
  const long = json(`~#${tag}`);
  yield `[${short}]`;
  yield `["^ ",${short},1]`;
  yield `{${short}:1}`;
  yield `[[${long},${json(text)}]]`;
}

/** A text under a tag in the less interesting places. */
function* further(tag, text) {
  const short = json(`~${tag}${text}`);
  yield short;
  yield `["~#'",${short}]`;
  yield `["~#set",[${short},${short}]]`;
  yield `["~#cmap",[${short},1,[],2]]`;
  yield `[{${json(`~#${tag}`)}:${json(text)}}]`;
  yield `[["^ ","~:abc",${short}],"^0"]`;
}

/** Things that are not values of one tag. */
function* structures() {
  // JSON.
  yield* ['', ' ', '[', '[1,', '[1,]', '{', '{"a"}', '{"a":}', '{1:2}', 'nul', 'nil', 'undefined', 'NaN', 'Infinity', '+1', '01', '1.', '.5', '1e', '0x1', "'a'", '"a', '"\\x"', '"\\u12"', '"\t"', '[] []', '1 2', '\ufeff1', ' [1 , 2 ] ', '[1,2]\n', '-', '--1', '[1]]', '// a', '[1,/**/2]'];
  yield* ['1e400', '-1e400', '[1e400]', '["^ ","~:a",-1e999]', '1e308', '1.7976931348623159e308', '9007199254740993', '-0', '1E5', '1e-400', '0.1', '123456789012345678901234567890'];
  // Codes: of nothing, of things of each kind, out of range, in each place.
  for (const code of ['^', '^0', '^1', '^ ', '^  ', '^ x', '^/', '^\\', '^[', '^~', '^00', '^01', '^10', '^[[', '^\\0', '^000', '^0000', '^é', '^😀']) {
    for (const first of ['"~:abc"', '"~$abc"', '{"abcd":1}', '{"~i1234":1}', '{"~:abc":1}', '["~#set",[1]]', '["~#abc",1]', '"abcd"', '1']) {
      yield `[${first},${json(code)}]`;
      yield `[${first},[${json(code)},[2]]]`;
      yield `[${first},["^ ",${json(code)},2]]`;
    }
  }
  for (const place of ['"^0"', '["^0"]', '["^0",1]', '["^0",[1]]', '["^ ","^0",1]', '["^ ","~:k","^0"]', '{"^0":1}', '{"^0":[1]}', '["~#\'","^0"]', '["~#set",["^0"]]', '["~#cmap",["^0",1]]', '["~#list",["^0","^0"]]', '["~#u","^0"]', '["~#point","^0"]', '[1,"^0",2]']) {
    for (const first of ['"~:abc"', '"~$abc"', '["^ ","abcd",1]', '["^ ","~~abc",1]', `["^ ","~u${UUID}",1]`, '["^ ","~i1234",1]', '["^ ","~m1234",1]', '["^ ","~XYZW",1]', '["^ ","~zNaN",1]', '["^ ","~?true",1]', '["^ ","~_true",1]', '["~#set",[1]]', '["~#point",1]']) {
      yield `[${first},${place}]`;
    }
  }
  // Arrays that are not quite tagged, markers in odd places.
  for (const tag of ['"~#set"', '"~#\'"', '"~#u"', '"~#point"', '"^ "', '"~#"', '"~"', '"~#cmap"']) {
    for (const rest of ['', ',[1]', ',[1],2', ',[1],2,3', ',"x"', ',["^ "]']) yield* [`[${tag}${rest}]`, `[1,${tag}${rest}]`, `["~#list",[${tag}${rest}]]`, `["~#point",[${tag}${rest}]]`, `["~#link",[${tag}${rest}]]`];
    yield* [tag, `{${tag}:[1]}`, `{${tag}:[1],"b":2}`, `{"b":2,${tag}:[1]}`, `["^ ",${tag},1]`, `["^ ","~:a",${tag}]`];
  }
  // Keys.
  for (const value of VALUES) yield* [`["^ ",${value},1]`, `["^ ","~:a",${value}]`, `["~#cmap",[${value},1]]`, `["~#cmap",[[0],1,${value},2]]`, `["^ ",["abcd","efgh"],${value},"^0",1]`];
  // Quotes.
  for (const value of VALUES) yield* [`["~#'",${value}]`, `{"~#'":${value}}`, `[["~#'",${value}]]`, `["~#'",["~#'",${value}]]`];
  yield* ['[["~#\\u0027","a"]]', '["\\u007e#set",[1]]', '["~\\u0023set",[1]]', '["\\u005e ",1,2]', '["\\u007eb!"]', '["~\\u0062!"]', '["\\ud83d\\ude00"]', '["\\ud800"]', '["~:\\ud800"]', '["~\\ud83dx"]', '["~\\ud83d\\ude00x"]'];
  // Sizes at which readers switch to another data structure.
  for (const count of [7, 8, 9, 16, 31, 32, 33, 40]) {
    const list = (item) => Array.from({ length: count }, (_, i) => item(i)).join(',');
    yield* [`[${list((i) => i)}]`, `["~#set",[${list((i) => i)}]]`, `["~#list",[${list((i) => i)}]]`, `["^ ",${list((i) => `"~:k${i}",${i}`)}]`, `{${list((i) => `"k${i}":${i}`)}}`, `["~#cmap",[${list((i) => `[${i}],${i}`)}]]`, `["~#cmap",[${list((i) => i)}]]`, `["^ ",${list((i) => `"~:k${i}"`)}]`, `["~#set",[${list((i) => `"~zNaN"`)}]]`, `["~#set",[${list((i) => `"~:k${i % 5}"`)}]]`, `[["~:abc",${list((i) => `"~:key${i}"`)}],"^0","^1","^10","^12"]`];
  }
  // Nested forms of a client's own writing, and a transaction as clients send it.
  yield* ['[["~:db/add","~u66b8d8f0-0000-4000-8000-00000000000a","~:block/title","a",536870913],["^0","~u66b8d8f0-0000-4000-8000-00000000000a","~:block/tags",["~:db/ident","~:logseq.class/Page"],536870913],["^0",1,"^1","^b"]]', '[["~:db/retractEntity",["~:block/uuid","~u66b8d8f0-0000-4000-8000-00000000000a"]]]', '[["^ ","~:db/id",-1,"~:block/uuid","~u66b8d8f0-0000-4000-8000-00000000000a"]]'];
}

/** A small generator of random numbers (mulberry32) with a fixed seed. */
function* random(seed) {
  for (let a = seed; ;) {
    a = (a + 0x6d2b79f5) >>> 0;
    let x = Math.imul(a ^ (a >>> 15), a | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    yield (x ^ (x >>> 14)) >>> 0;
  }
}

/** Random nestings of all of the above. */
function* nestings(count) {
  const numbers = random(17);
  const below = (n) => numbers.next().value % n;
  const pick = (xs) => xs[below(xs.length)];
  const good = ['1', 'null', '"a"', '"abcd"', '"~:ab"', '"~:a/b"', '"~$ab"', `"~u${UUID}"`, '"~m5"', '1.5', '"~n5"', '"~zNaN"', '"~~a"'];
  const scalar = () => (below(12) === 0 ? pick(VALUES) : below(8) === 0 ? pick(['"^0"', '"^1"', '"^2"']) : below(10) === 0 ? json(`~${pick(KNOWN)}${pick(TEXTS)}`) : pick(good));
  const items = (depth, n = below(4)) => Array.from({ length: n }, () => value(depth - 1)).join(',');
  const pairs = (depth, key) => Array.from({ length: below(4) }, () => `${key()},${value(depth - 1)}`).join(',');
  function value(depth) {
    if (depth <= 0 || below(4) === 0) return scalar();
    switch (below(9)) {
      case 0: case 1: return `[${items(depth)}]`;
      case 2: { const inside = pairs(depth, () => (below(6) === 0 ? value(1) : pick(good))); return inside ? `["^ ",${inside}]` : '["^ "]'; }
      case 3: return `["~#set",[${items(depth)}]]`;
      case 4: return `["~#list",[${items(depth)}]]`;
      case 5: return `["~#cmap",[${pairs(depth, () => value(depth - 1))}]]`;
      case 6: return `["~#with-meta",[${value(depth - 1)},${value(1)}]]`;
      case 7: return `{${json(pick(['~:abc', 'abcd', 'a', `~u${UUID}`, '~i5']))}:${value(depth - 1)}}`;
      default: return `[${json(`~#${pick([...LONG, ...KNOWN])}`)},${value(depth - 1)}]`;
    }
  }
  for (let i = 0; i < count; i += 1) yield value(4);
}

function* all() {
  for (const tag of KNOWN) for (const text of TEXTS) yield* places(tag, text);
  for (const tag of ['t', 'm']) for (const text of DATES) yield* places(tag, text);
  for (const tag of OTHER) for (const text of ['', 'x', '1', 'AAE=', '~x', 'constructor']) yield* places(tag, text);
  for (const tag of [...KNOWN, ...OTHER]) for (const text of ['', '5', 'foo', 'AAE=', 'INF', 't']) yield* further(tag, text);
  for (const tag of [...LONG, ...KNOWN, ...'#~^`X😀']) for (const value of VALUES) yield `[[${json(`~#${tag}`)},${value}]]`;
  for (const tag of LONG) for (const value of VALUES.filter((_, i) => i % 5 === 0)) yield* [`{${json(`~#${tag}`)}:${value}}`, `[${json(`~#${tag}`)},${value}]`];
  for (const value of VALUES) yield* [value, `[${value}]`, `["~#set",[${value}]]`];
  yield* structures();
  yield* nestings(2500);
}

/** Every form once. */
export const forms = () => [...new Set(all())];
