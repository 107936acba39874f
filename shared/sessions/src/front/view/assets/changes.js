// What a session changed: files and lines, all of it as text.

import { el } from "./dom.js";

/** Lines that are shown; a page of more is of no use to anybody. */
const MOST_LINES = 5000;

const KINDS = [
  [/^(diff --git|index|---|\+\+\+|new file|deleted file|old mode|new mode|Binary files) ?/, "head"],
  [/^@@/, "place"],
  [/^\+/, "added"],
  [/^-/, "removed"],
];

function lineOf(text) {
  const kind = KINDS.find(([pattern]) => pattern.test(text))?.[1];
  return el("span", { class: kind ? `diff-${kind}` : null }, `${text}\n`);
}

function fileOf({ path, status, additions, deletions, binary }) {
  const count = binary ? "not text" : `+${additions ?? 0} −${deletions ?? 0}`;
  return el("li", {}, el("code", {}, path), ` ${status}, ${count}`);
}

/** The elements of a diff as the service answers it. */
export function changes({ base, files, patch, truncated }) {
  if (files.length === 0) return [el("p", { class: "quiet" }, "Nothing was changed.")];
  const lines = patch.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const isCut = truncated || lines.length > MOST_LINES;
  return [
    el("p", { class: "quiet" }, `Compared with ${base.slice(0, 12)}.`),
    el("ul", { class: "plain" }, ...files.map(fileOf)),
    el("pre", { class: "diff", tabindex: "0", role: "region", "aria-label": "Changed lines" }, ...lines.slice(0, MOST_LINES).map(lineOf)),
    isCut ? el("p", { class: "warning" }, "There is more than is shown here.") : null,
  ];
}
