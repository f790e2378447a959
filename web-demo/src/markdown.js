// Renders a model's markdown as elements. The parser returns a tree of texts, and every text becomes a text node, so whatever
// the model writes, HTML included, is shown and never executed.

import {lexer} from "../vendor/marked.js";
import {element} from "./element.js";

/** Protocols that links may have. */
const LINKS = new Set(["http:", "https:", "mailto:"]);

/** Most quotes, lists and styles within one another: browsers, too, call themselves for what is within something else. */
const MOST_LEVELS = 100;
let level = 0;

/** What `make` makes one level deeper. */
function deeper(make) {
  if (level >= MOST_LEVELS) throw new RangeError("nested too deeply");
  level += 1;
  try {
    return make();
  } finally {
    level -= 1;
  }
}

/** Renders `source` into `target`, replacing only the blocks that have changed. What nests too deeply is shown as it is. */
export function render(source, target) {
  try {
    renderBlocks(source, target);
  } catch (error) {
    // Firefox has a name of its own for the end of the stack, which the parser may reach.
    if (!(error instanceof RangeError || error.name === "InternalError")) throw error;
    target.replaceChildren(element("pre", {textContent: source}));
  }
}

function renderBlocks(source, target) {
  const blocks = lexer(source).filter((token) => token.type !== "space" && token.type !== "def");
  const old = target.children;
  blocks.forEach((token, index) => {
    if (old[index]?.source === token.raw && index + 1 < blocks.length) return;
    const fresh = block(token);
    fresh.source = token.raw;
    if (old[index]) old[index].replaceWith(fresh);
    else target.append(fresh);
  });
  while (old.length > blocks.length) target.lastElementChild.remove();
}

const block = (token) => deeper(() => makeBlock(token));
const inline = (tokens) => deeper(() => makeInline(tokens));

function makeBlock(token) {
  switch (token.type) {
    case "heading":
      // The page itself uses the first three levels.
      return element(`h${Math.min(token.depth + 3, 6)}`, {}, ...inline(token.tokens));
    case "code":
      return code(token);
    case "blockquote":
      return element("blockquote", {}, ...token.tokens.filter(isBlock).map(block));
    case "list":
      return list(token);
    case "table":
      return table(token);
    case "hr":
      return element("hr");
    case "html":
      return element("p", {textContent: token.raw});
    default:
      return element("p", {}, ...(token.tokens ? inline(token.tokens) : [token.text ?? token.raw]));
  }
}

function code({lang, text}) {
  const copy = element("button", {type: "button", className: "quiet copy", textContent: "Copy"});
  copy.onclick = async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  };
  const title = element("div", {className: "code-title"}, element("span", {textContent: lang || "text"}), copy);
  return element("div", {className: "code"}, title, element("pre", {tabIndex: 0}, element("code", {textContent: text})));
}

const isBlock = (token) => token.type !== "space";

function list({ordered, start, items}) {
  const made = element(ordered ? "ol" : "ul", ordered && start !== 1 ? {start} : {});
  for (const item of items) {
    const parts = item.tokens.filter(isBlock).flatMap((token) => {
      if (token.type === "checkbox") return [checkbox(token)];
      // The text of a tight list item is not a paragraph.
      return token.type === "text" ? inline(token.tokens ?? [token]) : [block(token)];
    });
    made.append(element("li", {}, ...parts));
  }
  return made;
}

const checkbox = ({checked}) => element("input", {type: "checkbox", checked, disabled: true, "aria-label": checked ? "done" : "to do"});

function table({header, rows}) {
  const row = (name, cells) =>
    element("tr", {}, ...cells.map((cell) => element(name, {className: cell.align ?? ""}, ...inline(cell.tokens))));
  const head = element("thead", {}, row("th", header));
  const body = element("tbody", {}, ...rows.map((cells) => row("td", cells)));
  return element("div", {className: "table", tabIndex: 0}, element("table", {}, head, body));
}

function makeInline(tokens) {
  return tokens.flatMap((token) => {
    switch (token.type) {
      case "strong":
      case "em":
      case "del":
        return [element(token.type, {}, ...inline(token.tokens))];
      case "codespan":
        return [element("code", {textContent: token.text})];
      case "br":
        return [element("br")];
      case "link":
        return [link(token.href, inline(token.tokens))];
      case "image":
        // Images would be fetched from other sites: a link stands in for them.
        return [link(token.href, [token.text || token.href])];
      case "checkbox":
        return [checkbox(token)];
      case "html":
        return /^<br\s*\/?>$/i.test(token.raw) ? [element("br")] : [token.raw];
      default:
        return token.tokens ? inline(token.tokens) : [unescape(token.text ?? token.raw)];
    }
  });
}

function link(href, children) {
  const url = URL.canParse(href) && new URL(href);
  if (!url || !LINKS.has(url.protocol)) return element("span", {}, ...children);
  return element("a", {href: url.href, rel: "noopener noreferrer", target: "_blank"}, ...children);
}

const ENTITIES = {amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0"};

/** Decodes character references, which the parser leaves to HTML. */
function unescape(text) {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hex, name) => {
    if (name) return ENTITIES[name] ?? whole;
    const point = decimal ? Number(decimal) : parseInt(hex, 16);
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
