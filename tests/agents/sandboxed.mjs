// What tests of sessions in sandboxes share: the worker with E2B's stand-in behind it, sessions, turns.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Client, updateOf } from './client.mjs';
import { API_KEY, E2bServer } from './e2b-server.mjs';
import { AGENT_PORT, renumber, sessionImage } from './e2b/image.mjs';
import { Worker, here, temporaryFolder } from './processes.mjs';

/** A project whose repository is nowhere: nothing is cloned. */
export const project = (more = {}) => ({ id: 'project', title: 'Project', 'repo-url': 'https://git.invalid/acme/project', ...more });

/** A prompt that no other case has: its first chunk is a random word. */
export const unique = (orders) => `say ${crypto.randomUUID().slice(0, 8)} ; ${orders}`;

/** The first chunk of what is said to such a prompt: its turn runs. */
export const runs = (stream, prompt) => stream.until((event) => updateOf(event, 'agent_message_chunk')?.content.text === prompt.slice(4, 12), 'the turn runs');

/** Sends a prompt and waits for the end of its turn. */
export async function turn(session, stream, prompt) {
  const from = stream.cursors().at(-1) ?? 0;
  await session.say(prompt);
  return stream.type('turn.completed', from);
}

/** The built worker whose sandboxes are those of a stand-in. */
export class Sandboxed {
  /** `github`: a stand-in of GitHub that the worker and git in sandboxes use. */
  static async start({ env = {}, github, ...options } = {}) {
    const it = new Sandboxed();
    it.e2b = await E2bServer.start({ image: sessionImage(temporaryFolder(), { github }), ports: [AGENT_PORT], prepare: renumber, ...options });
    it.worker = await Worker.start(null, {
      wrapper: path.join(here, 'outside.mjs'),
      env: {
        AGENT_RUNTIME_PROVIDER: 'e2b', AGENT_ENVIRONMENT: 'test', E2B_API_KEY: API_KEY, E2B_DOMAIN: it.e2b.domain, E2B_TEST_SERVER: it.e2b.url,
        E2B_API_VERSION: 'auto', AGENT_STOP_GRACE_MS: '500', AGENT_PROMPT_POST_MS: '1000', ...github?.settings, ...env,
      },
    });
    it.client = new Client(it.worker.base);
    return it;
  }

  create(more = {}) {
    return this.client.create({ project: project(), ...more });
  }

  /** The sandboxes that were made for a session and were not ended. */
  sandboxes(session) {
    return this.e2b.alive.filter(({ metadata }) => metadata['session-id'] === session.id);
  }

  /** The one sandbox of a session. */
  sandbox(session) {
    const [only, ...others] = this.sandboxes(session);
    assert.ok(only && !others.length, `${others.length + Number(Boolean(only))} sandboxes`);
    return only;
  }

  /** How often agents of the session's sandbox got this prompt. */
  prompts(session, text) {
    const log = this.sandbox(session).path('prompts.jsonl');
    return fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').filter((line) => line && JSON.parse(line).text === text).length : 0;
  }

  /** What the clock does every half hour. */
  async sweep() {
    assert.equal((await fetch(`${this.worker.base}/test/scheduled`, { method: 'POST' })).status, 204);
  }

  /** Makes everything that was asked of E2B an hour older. */
  async age() {
    const hour = 3_600_000;
    for (const sandbox of this.e2b.sandboxes) sandbox.startedAt = new Date(sandbox.startedAt.getTime() - hour);
    await this.sql(`UPDATE sandbox_intents SET deadline = deadline - ${hour}, updated_at = updated_at - ${hour}`);
  }

  /** Runs a statement in the database that all workers share; its rows. */
  async sql(text) {
    const answer = await fetch(`${this.worker.base}/test/sql`, { method: 'POST', body: text });
    assert.equal(answer.status, 200, text);
    return answer.json();
  }

  /** The rows of what was asked of E2B for a session. */
  async intents(session) {
    return (await this.sql('SELECT session_id, state, sandbox_id FROM sandbox_intents')).filter((row) => row.session_id === session.id);
  }

  async stop() {
    await this.worker?.stop();
    await this.e2b?.stop();
  }
}
