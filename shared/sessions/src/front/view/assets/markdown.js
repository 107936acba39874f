// Markdown as nodes. `marked` takes it apart; nothing that it calls HTML is more than text, and images are links.

import { lexer } from "./marked.js";
import { el, link } from "./dom.js";

/** Beyond so many characters a text is shown as it is. */
const LONGEST = 200_000;
/** Lists and quotes within each other, at most. */
const DEEPEST = 20;

/** The nodes of a text. */
export function markdown(text) {
  if (text.length > LONGEST) return el("pre", {}, text);
  const whole = el("div", { class: "markdown" });
  try {
    whole.append(...blocks(lexer(text, { gfm: true }), 0));
  } catch {
    whole.append(el("pre", {}, text));
  }
  return whole;
}

function blocks(tokens, depth) {
  if (depth > DEEPEST) return [el("pre", {}, tokens.map((token) => token.raw).join(""))];
  return tokens.flatMap((token) => block(token, depth + 1));
}

function block(token, depth) {
  switch (token.type) {
    case "space":
    case "def":
      return [];
    case "heading":
      // The page has headings of its own above.
      return [el(`h${Math.min(token.depth + 2, 6)}`, {}, ...inline(token.tokens))];
    case "paragraph":
      return [el("p", {}, ...inline(token.tokens))];
    case "text":
      return token.tokens ? inline(token.tokens) : [token.text];
    case "code":
      return [el("pre", { tabindex: "0" }, el("code", {}, token.text))];
    case "blockquote":
      return [el("blockquote", {}, ...blocks(token.tokens, depth))];
    case "hr":
      return [el("hr")];
    case "list":
      return [list(token, depth)];
    case "table":
      return [table(token)];
    default:
      return [el("p", {}, token.raw)];
  }
}

function list(token, depth) {
  const items = token.items.map((item) => {
    const box = item.task ? [item.checked ? "☑ " : "☐ "] : [];
    return el("li", {}, ...box, ...blocks(item.tokens, depth));
  });
  return el(token.ordered ? "ol" : "ul", { start: token.ordered && token.start !== 1 ? token.start : null }, ...items);
}

function table(token) {
  const cells = (row, name) => row.map((cell) => el(name, {}, ...inline(cell.tokens)));
  const head = el("thead", {}, el("tr", {}, ...cells(token.header, "th")));
  const body = el("tbody", {}, ...token.rows.map((row) => el("tr", {}, ...cells(row, "td"))));
  return el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }, el("table", {}, head, body));
}

function inline(tokens = []) {
  return tokens.map((token) => {
    switch (token.type) {
      case "strong":
        return el("strong", {}, ...inline(token.tokens));
      case "em":
        return el("em", {}, ...inline(token.tokens));
      case "del":
        return el("del", {}, ...inline(token.tokens));
      case "codespan":
        return el("code", {}, token.text);
      case "br":
        return el("br");
      case "link":
        return link(token.href, ...inline(token.tokens));
      case "image":
        return link(token.href, `image: ${token.text || token.href}`);
      case "escape":
      case "text":
        return token.tokens ? el("span", {}, ...inline(token.tokens)) : token.text;
      default:
        return token.raw;
    }
  });
}
