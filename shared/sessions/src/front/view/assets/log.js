// The conversation: entries in their order, messages that are being written, calls of tools that change.

import { el } from "./dom.js";
import { message, shown, tool } from "./entries.js";

/** Entries that are kept; older ones are taken out. */
const MOST = 2_000;

export class Log {
  #list = document.getElementById("log");
  #older = document.getElementById("older");
  #tools = new Map();
  #live = null;
  #due = false;

  /** Takes an event in. */
  take(event) {
    const update = event.data?.update;
    if (event.type === "agent.runtime" && update) {
      const kind = update.sessionUpdate;
      if (kind === "agent_message_chunk") return this.#grow("text", update.content?.text ?? "");
      if (kind === "agent_thought_chunk") return this.#grow("reasoning", update.content?.text ?? "");
      if (kind === "tool_call" || kind === "tool_call_update") return this.#tool(event, update);
    }
    if (event.cursor === undefined && event.type === "item.completed") return this.#isWritten(event);
    if (event.type === "item.completed") this.#drop();
    const entry = shown(event);
    if (entry) this.#append(entry);
  }

  /** Whether the reader is at the end, and wants to stay there. */
  get #isAtEnd() {
    const page = document.documentElement;
    return page.scrollTop + page.clientHeight >= page.scrollHeight - 80;
  }

  #append(entry) {
    const follows = this.#isAtEnd;
    if (this.#live) this.#list.insertBefore(entry, this.#live.entry);
    else this.#list.append(entry);
    while (this.#list.childElementCount > MOST) {
      this.#list.firstElementChild.remove();
      this.#older.hidden = false;
    }
    if (follows) entry.scrollIntoView({ block: "end" });
  }

  #tool(event, update) {
    const id = update.toolCallId;
    const before = this.#tools.get(id);
    const whole = { ...before?.update, ...update };
    const entry = tool(event, whole);
    if (before?.entry.isConnected) {
      entry.querySelector("details").open = before.entry.querySelector("details").open;
      before.entry.replaceWith(entry);
    } else {
      this.#append(entry);
    }
    this.#tools.set(id, { update: whole, entry });
    if (this.#tools.size > MOST) this.#tools.delete(this.#tools.keys().next().value);
  }

  /** A message that is being written, as far as it is. */
  #isWritten(event) {
    const of = (type) => (event.data.item?.content ?? []).filter((part) => part.type === type).map((part) => part.text).join("");
    this.#grow("reasoning", of("reasoning"));
    this.#grow("text", of("text"));
  }

  #grow(part, text) {
    if (!this.#live) {
      this.#live = { reasoning: "", text: "", entry: el("li") };
      this.#list.append(this.#live.entry);
    }
    this.#live[part] += text;
    if (this.#due) return;
    // Texts come in many pieces: they are drawn once a frame.
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      if (!this.#live) return;
      const follows = this.#isAtEnd;
      const open = this.#live.entry.querySelector("details")?.open ?? false;
      const entry = message({}, this.#live.reasoning, this.#live.text);
      entry.setAttribute("aria-busy", "true");
      const folded = entry.querySelector("details.reasoning");
      if (folded) folded.open = open;
      this.#live.entry.replaceWith(entry);
      this.#live.entry = entry;
      if (follows) entry.scrollIntoView({ block: "end" });
    });
  }

  #drop() {
    this.#live?.entry.remove();
    this.#live = null;
  }
}
