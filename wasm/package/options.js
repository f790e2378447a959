// Options of the page as the JSON that the engine reads.

import { EdgeLlmError } from './errors.js';

/** JSON without what JSON would silently make null: a number that is none. */
export function json(options) {
  return JSON.stringify(options, (name, value) => {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new EdgeLlmError('invalid', `the option ${name} is ${value}: give a number`);
    }
    return value;
  });
}

/** `GenerateOptions` without what stays in the page. */
export function generateJson({ signal, onPrefill, stop, logitBias, ...options }) {
  const bias = ([id, value]) => {
    if (value === -Infinity) return [Number(id), null];
    return [Number(id), value];
  };
  // Null is as good as nothing, as everywhere.
  return json({ ...options, stop: [stop ?? []].flat(), logitBias: Object.entries(logitBias ?? {}).map(bias) });
}
