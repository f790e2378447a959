// Errors as sentences that say what to do.

/** An error whose message is already written for users. */
export class Problem extends Error {
  /** `remedy` is optional: `{label, action}`, the text of a button and what it does. */
  constructor(message, {cause, remedy} = {}) {
    super(message, {cause});
    this.remedy = remedy;
  }
}

/** Whether the user stopped the action. */
export const isAbort = (error) => error?.name === "AbortError";

/** A sentence for any error; `doing` says what was going on, such as "load the model". */
export function explain(error, doing) {
  if (error instanceof Problem) return error.message;
  const text = error?.message ?? String(error);
  switch (error?.name) {
    case "QuotaExceededError":
      return "The browser has no space left for this model. Delete a stored model, or run this one without storing it.";
    case "NotReadableError":
    case "NotFoundError":
      return `The file cannot be read: it was moved, changed or deleted. Choose it again. (${text})`;
    case "SecurityError":
      return `The browser does not allow this page to ${doing}: private windows and strict settings prevent it. (${text})`;
  }
  if (isOutOfMemory(error)) {
    return `There is not enough memory to ${doing}. Close other pages, choose a smaller model, or lower the context length in the settings.`;
  }
  return `Could not ${doing}: ${text}`;
}

function isOutOfMemory(error) {
  const text = `${error?.code ?? ""} ${error?.message ?? error}`;
  return error instanceof RangeError || /out[ _-]of[ _-]memory|could not allocate|allocation failed|memory\.grow/i.test(text);
}
