// docs/agents-openapi.json as validators: what an answer must be, by its operation and status.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv2020 from 'ajv/dist/2020.js';

export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const description = JSON.parse(fs.readFileSync(path.join(root, 'docs/agents-openapi.json'), 'utf8'));

const ajv = new Ajv2020({ allErrors: true, strict: false });
ajv.addSchema(description, 'api');

const pointer = (name) => name.replaceAll('~', '~0').replaceAll('/', '~1');
const compile = (keys) => ajv.compile({ $ref: `api#/${keys.map((key) => encodeURIComponent(pointer(key))).join('/')}` });

/** Paths as expressions, those without parameters first: they win. */
const paths = Object.keys(description.paths)
  .map((template) => ({ template, pattern: new RegExp(`^${template.replaceAll('.', '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`) }))
  .sort((a, b) => a.template.split('{').length - b.template.split('{').length);

/** The operation that a request asks for; null when there is none. */
export function operationOf(method, address) {
  const { pathname } = new URL(address, 'http://service');
  for (const { template, pattern } of paths) {
    const operation = description.paths[template][method.toLowerCase()];
    if (operation && pattern.test(pathname)) return { template, method: method.toLowerCase(), ...operation };
  }
  return null;
}

const known = new Map();
function validator(keys) {
  const name = keys.join(' ');
  if (!known.has(name)) known.set(name, compile(keys));
  return known.get(name);
}

function told(validate, value) {
  if (validate(value)) return [];
  // That a condition's consequence does not hold says nothing beside what does not hold of it.
  return validate.errors.filter((error) => error.keyword !== 'if').map((error) => ({ at: error.instancePath, text: `${error.instancePath || 'the body'} ${error.message} ${JSON.stringify(error.params)}` }));
}

/** What is wrong with an answer of JSON: [{at, text}]. */
export function wrongAnswer(operation, status, body) {
  const response = operation.responses[status];
  if (!response) return [{ at: '', text: `status ${status} is not described` }];
  if (!response.content?.['application/json']) return [{ at: '', text: `status ${status} has no JSON` }];
  return told(validator(['paths', operation.template, operation.method, 'responses', String(status), 'content', 'application/json', 'schema']), body);
}

/** What is wrong with an event. */
export const wrongEvent = (event) => told(validator(['components', 'schemas', 'Event']), event);
