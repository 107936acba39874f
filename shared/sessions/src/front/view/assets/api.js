// Requests to the routes that this page uses, and the stream of events.

import { ask, known } from "./token.js";

/** An answer that is no success; its text is the service's own. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

let token = known();
let asking = null;

async function signedIn() {
  if (!token) await askAgain(token, "");
  return { authorization: `Bearer ${token}` };
}

/** Asks for another token than the one that was `refused`: once, however many requests were refused with it. */
async function askAgain(refused, problem) {
  if (token !== refused) return;
  asking ??= ask(problem).then((given) => {
    token = given;
    asking = null;
  });
  await asking;
}

async function failure(response) {
  const body = await response.json().catch(() => ({}));
  return new Refused(response.status, typeof body.error === "string" ? body.error : `status ${response.status}`);
}

/** Sends a request and gives the JSON of the answer. A token that is refused is asked for again. */
export async function call(method, path, body) {
  const headers = await signedIn();
  const used = token;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method === "POST") headers["idempotency-key"] = crypto.randomUUID();
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 401 && method === "GET") {
    await askAgain(used, "This token is not accepted.");
    return call(method, path, body);
  }
  if (!response.ok) throw await failure(response);
  return response.json();
}

/** Whether the token is a person's. An observer's is good for reading one session only. */
export async function isPerson() {
  const response = await fetch("/sessions?limit=1", { headers: await signedIn() });
  return response.ok;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Reads a stream of events for ever: one that breaks off is opened again after the last event that came. `onEvent` gets each
 * event, `onState` is told `connecting`, `open`, `lost`, or `gone` when there is no such session any more.
 */
export async function follow(path, onEvent, onState) {
  let last = null;
  for (let failures = 0; ; ) {
    onState(failures === 0 ? "connecting" : "lost");
    try {
      const headers = await signedIn();
      const used = token;
      if (last !== null) headers["last-event-id"] = last;
      const response = await fetch(path, { headers, cache: "no-store" });
      if (response.status === 404 || response.status === 403) return onState("gone");
      if (response.status === 401) {
        await askAgain(used, "This token is not accepted any more.");
        continue;
      }
      if (!response.ok) throw await failure(response);
      onState("open");
      failures = 0;
      for await (const frame of frames(response.body)) {
        if (frame.id !== null) last = frame.id;
        onEvent(JSON.parse(frame.data));
      }
    } catch {
      // The connection, or a frame that was cut: the stream is opened again.
    }
    failures += 1;
    await pause(Math.min(500 * 2 ** failures, 15000));
  }
}

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const frame = { id: null, data: "" };
      for (const line of part.split("\n")) {
        if (line.startsWith("id: ")) frame.id = line.slice(4);
        else if (line.startsWith("data: ")) frame.data += (frame.data && "\n") + line.slice(6);
      }
      if (frame.data !== "") yield frame;
    }
  }
}
