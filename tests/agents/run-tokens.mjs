// Run tokens (transcripts.md 4.8), made with the key of development.
import crypto from 'node:crypto';

export const KEY = Buffer.from('run tokens of development only!!');

const base64 = (value) => Buffer.from(value).toString('base64url');

/** A token with these claims, signed with `key`, under a header of which members can be replaced. */
export function signed(claims, { key = KEY, header = {} } = {}) {
  const parts = [{ alg: 'HS256', typ: 'run', kid: 'development', ...header }, claims].map((part) => base64(JSON.stringify(part)));
  return [...parts, crypto.createHmac('sha256', key).update(parts.join('.')).digest('base64url')].join('.');
}

/** The claims of a token for a turn of the only user. */
export function claimsOf(sessionId, seq, more = {}) {
  const iat = Math.floor(Date.now() / 1000);
  return {
    sub: 'only-user', sid: sessionId, run: `run-${seq}`, seq, att: 1, ep: 0, scope: ['transcript:read', 'transcript:write'],
    iat, exp: iat + 900, jti: crypto.randomUUID(), ...more,
  };
}

export const tokenOf = (sessionId, seq, more) => signed(claimsOf(sessionId, seq, more));
