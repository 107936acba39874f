// The page of one session.

import { call, follow, isPerson } from "./api.js";
import { changes } from "./changes.js";
import { el } from "./dom.js";
import { Log } from "./log.js";

const id = location.pathname.split("/").at(-2);
const path = `/sessions/${id}`;
const byId = (name) => document.getElementById(name);
const log = new Log();
let canSteer = false;

function problem(error) {
  byId("problem").textContent = error ? `That did not work: ${error.message}` : "";
}

function fact(name, value) {
  return value === null || value === undefined || value === "" ? [] : [el("span", {}, `${name}: ${value}`)];
}

async function showStatus() {
  const session = await call("GET", path);
  const title = session.task?.source?.["node-title"] || session["session-id"];
  byId("title").textContent = title;
  document.title = `${title} – ${session.status}`;
  byId("facts").replaceChildren(
    el("span", { class: `state ${session.status}` }, session.status),
    ...fact("runtime", session["runtime-provider"]),
    ...fact("repository", session.task?.project?.["repo-url"]),
    ...fact("branch", session.task?.project?.["base-branch"]),
  );
}

async function showBudget() {
  const { budget, used, reached } = await call("GET", `${path}/budget`);
  const of = (kind, value) => {
    const limit = budget[kind] === undefined ? "" : ` of ${budget[kind]}`;
    return [el("dt", {}, kind), el("dd", { class: reached.includes(kind) ? "warning" : "" }, `${value}${limit}`)];
  };
  const cost = used.cost.map(({ amount, currency }) => {
    const limit = budget.cost?.currency === currency ? ` of ${budget.cost.amount}` : "";
    return `${amount}${limit} ${currency}`;
  });
  byId("budget").replaceChildren(
    ...of("turns", used.turns),
    ...of("minutes", used.minutes),
    ...of("tokens", `${used.estimated ? "at least " : ""}${used.tokens}`),
    el("dt", {}, "cost"),
    el("dd", {}, cost.join(", ") || "not told"),
  );
}

async function showApprovals() {
  const { approvals } = await call("GET", `${path}/approvals`);
  const section = byId("approvals");
  const wasHidden = section.hidden;
  section.hidden = approvals.length === 0;
  byId("approval-list").replaceChildren(...approvals.map(approval));
  if (wasHidden && !section.hidden) byId("announce").textContent = "The agent waits for your decision.";
}

function approval(asked) {
  const title = asked.title || asked.tool || "a tool";
  const options = asked.options ?? [];
  const buttons = options.map((option) => {
    const granted = String(option.kind).startsWith("allow");
    const decide = () => act("POST", `${path}/approvals/${encodeURIComponent(asked["request-id"])}`,
      { decision: granted ? "granted" : "denied", "option-id": option.optionId ?? option["option-id"] });
    return el("button", { type: "button", class: granted ? "allow" : "deny", onclick: decide }, option.name || option.kind);
  });
  const until = new Date(asked["expires-at"]).toLocaleTimeString();
  return el("li", { class: "approval" }, el("p", {}, el("strong", {}, title), ` – denied by itself at ${until}`),
    canSteer ? el("div", { class: "verbs", role: "group", "aria-label": `Decide about ${title}` }, ...buttons) : null);
}

/** Shows the diff, where somebody looks at it. A sandbox that is paused is woken only when that is asked for. */
async function showChanges(wake = false) {
  if (!byId("changes").open) return;
  byId("wake").hidden = true;
  byId("changes-problem").textContent = "Looking…";
  try {
    const diff = await call("GET", `${path}/diff${wake ? "?wake=1" : ""}`);
    byId("changes-shown").replaceChildren(...changes(diff).filter((part) => part !== null));
    byId("changes-problem").textContent = "";
  } catch (error) {
    byId("changes-problem").textContent = error.message;
    byId("wake").hidden = error.message !== "session runtime paused" || !canSteer;
  }
}

const refresh = { changes: showChanges, status: showStatus, budget: showBudget, approvals: showApprovals };
const due = new Set();

/** Looks at parts of the page again, soon and once for many events. */
function again(...parts) {
  const isIdle = due.size === 0;
  parts.forEach((part) => due.add(part));
  if (!isIdle) return;
  setTimeout(() => {
    const wanted = [...due];
    due.clear();
    wanted.forEach((part) => refresh[part]().catch(() => {}));
  }, 200);
}

function onEvent(event) {
  log.take(event);
  if (event.cursor === undefined) return;
  if (event.type.startsWith("agent.approval_")) again("approvals", "status");
  else if (event.type === "turn.completed") again("budget", "status", "changes");
  else if (event.type.startsWith("session.budget_")) again("budget", "status");
  else if (event.type.startsWith("session.")) again("status", "approvals");
}

const STATES = {
  connecting: "Connecting…",
  open: "",
  lost: "The connection was lost. It is being opened again…",
  gone: "There is no such session, or not for you.",
};

async function act(method, address, body) {
  problem(null);
  try {
    await call(method, address, body);
    again("status", "budget", "approvals");
    return true;
  } catch (error) {
    problem(error);
    return false;
  }
}

function confirmed(text) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function onVerb(button) {
  const { verb, confirm } = button.dataset;
  if (confirm && !(await confirmed(confirm))) return;
  if (verb === "delete") {
    if (await act("DELETE", path)) location.assign("/sessions/view");
  } else {
    await act("POST", `${path}/${verb}`);
  }
}

byId("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("message");
  if (await act("POST", `${path}/messages`, { message: field.value, kind: "user" })) field.value = "";
});
byId("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("composer").requestSubmit();
});
for (const button of document.querySelectorAll("[data-verb]")) button.addEventListener("click", () => onVerb(button));

byId("changes").addEventListener("toggle", () => showChanges());
byId("wake").addEventListener("click", () => showChanges(true));

// Whoever has no token, or a wrong one, is asked for it here; then it is known what it is good for.
await showStatus().catch(problem);
canSteer = await isPerson();
byId("controls").hidden = !canSteer;
[showBudget, showApprovals].forEach((show) => show().catch(problem));
follow(`${path}/stream`, onEvent, (state) => {
  byId("connection").textContent = STATES[state];
});
