// The caller's sessions.

import { call } from "./api.js";
import { el } from "./dom.js";

const byId = (name) => document.getElementById(name);
let next = null;

function item(session) {
  const name = session.title || session["session-id"];
  const updated = new Date(session["updated-at"]);
  return el("li", { class: "entry" },
    el("a", { href: `/sessions/${encodeURIComponent(session["session-id"])}/view` }, name), " ",
    el("span", { class: `state ${session.status}` }, session.status), " ",
    el("time", { datetime: updated.toISOString() }, updated.toLocaleString()));
}

async function show(isMore) {
  const query = new URLSearchParams({ limit: "50" });
  if (byId("archived").checked) query.set("archived", "true");
  if (isMore && next) query.set("cursor", next);
  try {
    const page = await call("GET", `/sessions?${query}`);
    const items = page.sessions.map(item);
    if (isMore) byId("sessions").append(...items);
    else byId("sessions").replaceChildren(...items);
    next = page.next ?? null;
    byId("more").hidden = next === null;
    byId("empty").hidden = byId("sessions").childElementCount > 0;
    byId("problem").textContent = "";
  } catch (error) {
    byId("problem").textContent = `The sessions could not be read: ${error.message}`;
  }
}

byId("archived").addEventListener("change", () => show(false));
byId("more").addEventListener("click", () => show(true));
show(false);
