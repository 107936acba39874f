// Elements without HTML texts: whatever an agent says is text.

/** An element with attributes and children. A child that is a string becomes text. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A link that tells nobody where it was followed from; text, if the address is not one of the web. */
export function link(address, ...children) {
  let target;
  try {
    target = new URL(address);
  } catch {
    return el("span", {}, ...children);
  }
  if (!["https:", "http:", "mailto:"].includes(target.protocol)) return el("span", {}, ...children);
  return el("a", { href: target.href, rel: "noopener noreferrer", target: "_blank" }, ...children);
}

/** A time for people, and for programs. */
export function time(ms) {
  const date = new Date(ms);
  return el("time", { datetime: date.toISOString(), title: date.toLocaleString() }, date.toLocaleTimeString());
}
