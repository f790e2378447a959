// Messages above the conversation, announced by screen readers; each stays until it is dismissed.

import {byId, element} from "./element.js";
import {explain, isAbort} from "./problem.js";

/** Shows `text`, replacing an earlier notice with the same text; `remedy` is `{label, action}`. */
export function notify(text, {remedy, kind = "info"} = {}) {
  const shown = [...byId("notices").children].find((other) => other.firstChild.textContent === text);
  shown?.remove();
  const notice = element("div", {className: `notice ${kind}`, role: kind === "problem" ? "alert" : "status"});
  const close = () => notice.remove();
  notice.append(element("p", {textContent: text}));
  if (remedy) {
    const act = () => {
      close();
      remedy.action();
    };
    notice.append(element("button", {type: "button", textContent: remedy.label, onclick: act}));
  }
  notice.append(
    element("button", {type: "button", className: "quiet icon", textContent: "✕", "aria-label": "Dismiss", onclick: close}),
  );
  byId("notices").append(notice);
  return close;
}

/** Shows an error, unless the user stopped the action. */
export function report(error, doing) {
  if (isAbort(error)) return;
  notify(explain(error, doing), {kind: "problem", remedy: error.remedy});
}

/** Removes all messages. */
export const clearNotices = () => byId("notices").replaceChildren();
