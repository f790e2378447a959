// What the page may call; each function gets the call's argument, a way to send events, and the signal.

import { glue, start } from './engine.js';
import { EdgeLlmError } from './errors.js';
import { generate as run } from './answer.js';

let model;
let modelBytes = 0;
const sessions = new Map();
let lastSession = 0;

export async function load({ source, variant, threads, memoryLimit }, { send }) {
  const progress = (loaded, total) => send({ progress: { loaded, total } });
  await start(variant, threads, (pool) => send({ pool }));
  const incoming = await glue.Incoming.model(memoryLimit).receive(source, progress);
  model = glue.Model.open(incoming, Date.now());
  const info = JSON.parse(model.info());
  modelBytes = info.fileBytes;
  return info;
}

export function session({ options }) {
  const id = ++lastSession;
  sessions.set(id, { session: model.session(options), turn: Promise.resolve() });
  return id;
}

export const tokenize = ({ text, addSpecial }) => model.tokenize(text, addSpecial);

export const detokenize = ({ tokens }) => model.detokenize(tokens);

export const applyChatTemplate = ({ messages }) => model.applyChatTemplate(messages);

export const tokenizeChat = ({ messages, parseSpecial }) => model.tokenizeChat(messages, parseSpecial);

export function memory() {
  const cacheBytes = [...sessions.values()].reduce((sum, { session }) => sum + session.cacheBytes, 0);
  return { linearBytes: glue.linearBytes(), modelBytes, cacheBytes };
}

/** Runs `use` on a session when all that was asked of it before is done. */
function inTurn(id, use) {
  const entry = sessions.get(id);
  if (!entry) throw new EdgeLlmError('closed', 'the session was closed');
  const turn = entry.turn.then(() => use(entry.session));
  entry.turn = turn.catch(() => {});
  return turn;
}

export function generate({ session, input, parseSpecial, options }, { send, signal }) {
  const prompt = () => {
    if (input.tokens) return input.tokens;
    if (input.messages) return model.tokenizeChat(input.messages, parseSpecial);
    return model.tokenize(input.text, true);
  };
  return inTurn(session, (session) => run(session, prompt(), options, send, signal));
}

export const prefill = ({ session, tokens }) => inTurn(session, (session) => session.prefill(tokens));

export const reset = ({ session }) => inTurn(session, (session) => session.reset());

export function closeSession({ session: id }) {
  const entry = sessions.get(id);
  sessions.delete(id);
  entry?.turn.then(() => entry.session.free());
}

export async function quantize({ file, variant, memoryLimit, options }, { send }) {
  const read = (done, total) => send({ progress: { stage: 'read', done, total } });
  const convert = (done, total) => send({ progress: { stage: 'convert', done, total } });
  await start(variant);
  const incoming = await glue.Incoming.gguf(file.size, memoryLimit).receive(file, read);
  const quantized = glue.quantize(incoming, options, convert);
  return { ...JSON.parse(quantized.report()), file: quantized.file };
}
