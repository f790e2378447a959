// What goes wrong, as a sentence that says what to do.

/** A problem that is explained already: its message is for people. */
export class Problem extends Error {
  /** `remedy`, if there is one: `{label, action}`, a button's text and what it does. */
  constructor(message, {cause, remedy} = {}) {
    super(message, {cause});
    this.remedy = remedy;
  }
}

/** Whether somebody stopped it: nothing to report. */
export const isAbort = (error) => error?.name === "AbortError";

/** A sentence for any error; `doing` says what was under way, as "load the model". */
export function explain(error, doing) {
  if (error instanceof Problem) return error.message;
  const text = error?.message ?? String(error);
  switch (error?.name) {
    case "QuotaExceededError":
      return "The browser has no room left for this model. Delete one that is kept, or use it without keeping it.";
    case "NotReadableError":
    case "NotFoundError":
      return `The file cannot be read: it was moved, changed or deleted. Choose it again. (${text})`;
    case "SecurityError":
      return `The browser does not allow this page to ${doing}: private windows and strict settings do that. (${text})`;
  }
  if (isOutOfMemory(error)) {
    return `There is not enough memory to ${doing}. Close other pages, choose a smaller model, or lower the context in the settings.`;
  }
  return `Could not ${doing}: ${text}`;
}

function isOutOfMemory(error) {
  const text = `${error?.code ?? ""} ${error?.message ?? error}`;
  return error instanceof RangeError || /out[ _-]of[ _-]memory|could not allocate|allocation failed|memory\.grow/i.test(text);
}
