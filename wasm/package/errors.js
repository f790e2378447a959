/** An error that tells people what happened (`message`) and programs which kind it is (`code`). */
export class EdgeLlmError extends Error {
  constructor(code, message, status) {
    super(message);
    this.name = 'EdgeLlmError';
    this.code = code;
    if (status !== undefined) this.status = status;
  }
}

/** What of an error can be sent to another thread. */
export function packed(error) {
  if (typeof error?.code === 'string') return { code: error.code, message: error.message, status: error.status };
  return { code: 'crashed', message: `the engine failed: ${error?.message ?? error}` };
}

/** The error again, on the other side. */
export const unpacked = ({ code, message, status }) => new EdgeLlmError(code, message, status);
