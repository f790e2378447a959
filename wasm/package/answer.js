// An answer: the prompt in pieces, then token by token, with a look at the worker's messages in between.

/** Tokens of a prompt that are processed at once: few enough to stop soon, enough to read the weights rarely. */
const PIECE = 64;

const { port1, port2 } = new MessageChannel();
const waiting = [];
port1.onmessage = () => waiting.shift()();

/** Lets the worker receive what has come meanwhile. Timers would wait for milliseconds. */
const lookAtMessages = () =>
  new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(0);
  });

/** Generates on `session` from the tokens of `prompt`; sends tokens and gives the result, as index.d.ts has them. */
export async function generate(session, prompt, options, send, signal) {
  const begin = performance.now();
  const cachedTokens = session.begin(prompt, options);
  const toProcess = prompt.length - cachedTokens;
  const ids = [];
  let text = '';
  let [prefilled, first, last] = [null, null, null];
  let finishReason = 'aborted';

  await lookAtMessages();
  for (let left = toProcess; left > 0 && !signal.aborted; ) {
    left = session.advance(PIECE);
    send({ prefill: { done: toProcess - left, total: toProcess } });
    if (left === 0) prefilled = performance.now();
    await lookAtMessages();
  }
  while (!signal.aborted) {
    const step = session.next();
    if (!step) {
      // Only where no token was wanted.
      finishReason = 'length';
      break;
    }
    const { id, text: piece, logprob, finish } = step;
    step.free();
    last = performance.now();
    first ??= last;
    ids.push(id);
    text += piece;
    send({ token: logprob === undefined ? { id, text: piece } : { id, text: piece, logprob } });
    if (finish) {
      finishReason = finish;
      break;
    }
    await lookAtMessages();
  }
  session.end();

  const perSecond = (count, from, to) => (count > 0 && to > from ? (1000 * count) / (to - from) : null);
  return {
    text,
    tokenIds: Uint32Array.from(ids),
    finishReason,
    timings: {
      ttftMs: first === null ? null : first - begin,
      promptTokens: prompt.length,
      cachedTokens,
      prefillTokensPerSecond: prefilled === null ? null : perSecond(toProcess, begin, prefilled),
      generatedTokens: ids.length,
      decodeTokensPerSecond: perSecond(ids.length - 1, first, last),
    },
  };
}
