// From events to entries of the conversation.

import { el, link, time } from "./dom.js";
import { markdown } from "./markdown.js";

/** More of a tool's output than this is not shown. */
const OUTPUT = 20_000;

function entry(event, kind, ...children) {
  return el("li", { class: `entry ${kind}` }, ...children, event.ts ? time(event.ts) : null);
}

function line(event, ...text) {
  return entry(event, "line", el("p", {}, ...text));
}

/** Thoughts are folded, text is shown. `body` is where text is put that still grows. */
export function message(event, reasoning, text) {
  const parts = [];
  if (reasoning) parts.push(el("details", { class: "reasoning" }, el("summary", {}, "Reasoning"), markdown(reasoning)));
  if (text) parts.push(markdown(text));
  return entry(event, "agent", el("h3", {}, "Agent"), ...parts);
}

function content(item) {
  const of = (type) => (item?.content ?? []).filter((part) => part.type === type).map((part) => part.text).join("\n\n");
  return [of("reasoning"), of("text")];
}

/** What a tool was asked and gave, as text. */
function output(update) {
  const texts = (update.content ?? []).map((part) => {
    if (part.type === "diff") return `${part.path}\n--- before\n${part.oldText ?? ""}\n+++ after\n${part.newText ?? ""}`;
    return part.content?.text ?? "";
  });
  if (update.rawInput !== undefined) texts.unshift(JSON.stringify(update.rawInput, null, 2));
  if (update.rawOutput !== undefined && texts.length < 2) texts.push(JSON.stringify(update.rawOutput, null, 2));
  const all = texts.filter((text) => text !== "").join("\n\n");
  return all.length > OUTPUT ? `${all.slice(0, OUTPUT)}\n… (cut)` : all;
}

/** A call of a tool; further updates of the same call take its place. */
export function tool(event, update) {
  const status = update.status ?? "pending";
  const summary = el("summary", {}, el("span", { class: "tool-title" }, update.title || update.kind || "Tool"), " ",
    el("span", { class: `state ${status}` }, status.replace("_", " ")));
  const text = output(update);
  const body = text === "" ? el("p", { class: "quiet" }, "No output.") : el("pre", { tabindex: "0" }, text);
  return entry(event, "tool", el("details", {}, summary, body));
}

function plan(event, update) {
  const items = (update.entries ?? []).map((step) => el("li", {}, `${step.status === "completed" ? "☑" : "☐"} ${step.content}`));
  return entry(event, "plan", el("h3", {}, "Plan"), el("ul", {}, ...items));
}

/** An event as an entry; null for what is shown otherwise, or not at all. */
export function shown(event) {
  const data = event.data ?? {};
  const reason = data.reason ? ` (${data.reason})` : "";
  switch (event.type) {
    case "audit.log":
      return data.event === "user-message"
        ? entry(event, "person", el("h3", {}, data.by ?? "Somebody"), markdown(data.message ?? ""))
        : line(event, `${data.event ?? "note"} by ${data.by ?? "system"}`);
    case "item.completed":
      return message(event, ...content(data.item));
    case "agent.runtime":
      return data.update?.sessionUpdate === "plan" ? plan(event, data.update) : null;
    case "agent.runtime.error":
      return entry(event, "error", el("p", {}, `Error: ${data.message}${reason}`));
    case "turn.completed":
      return line(event, `Turn ended: ${data["stop-reason"]}`);
    case "session.created":
      return line(event, `Created by ${data["requested-by"]}`);
    case "session.provisioned":
      return line(event, `Runtime ready: ${data.provider ?? "unknown"}`);
    case "agent.approval_requested":
      return line(event, `Asks for leave: ${data.title || data.tool || "a tool"}`);
    case "agent.approval_granted":
      return line(event, `Allowed by ${data.by}`);
    case "agent.approval_denied":
      return line(event, `Denied by ${data.by}${reason}`);
    case "git.pr.succeeded":
      return line(event, "Pull request: ", link(data["pr-url"], data["pr-url"] ?? ""));
    case "git.pr.manual":
      return line(event, "Make the pull request yourself: ", link(data["manual-pr-url"], data["manual-pr-url"] ?? ""));
    case "session.budget_reached":
    case "session.budget_warning": {
      const word = event.type.endsWith("reached") ? "used up" : "nearly used up";
      const unit = data.currency ?? data.kind;
      return entry(event, "warning", el("p", {}, `Budget ${word}: ${data.used} of ${data.limit} ${unit} (${data.scope})`));
    }
    default:
      if (event.type?.startsWith("session.") || event.type?.startsWith("git.") || event.type?.startsWith("sandbox.")) {
        const by = data.by ? ` by ${data.by}` : "";
        const error = data.error ? `: ${data.error}` : "";
        return line(event, `${event.type.replace(/[._]/g, " ")}${by}${reason}${error}`);
      }
      return null;
  }
}
