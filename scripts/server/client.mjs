// Common requests from OpenAI's JavaScript client: `node client.mjs URL MODEL`.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const api = new OpenAI({baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0});
const messages = [{role: "user", content: "What is the capital of France? Answer in one sentence."}];
const options = {model, messages, max_tokens: 30, temperature: 0};

const whole = await api.chat.completions.create(options);
const text = whole.choices[0].message.content;
assert.match(text, /Paris/);

let streamed = "";
for await (const chunk of await api.chat.completions.create({...options, stream: true})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(streamed, text);

// A client that disconnects: the server must stop generating.
const stream = await api.chat.completions.create({...options, max_tokens: 500, stream: true});
for await (const chunk of stream) if (chunk.choices.length) break;

const tool = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: {city: {type: "string", maxLength: 40}},
      required: ["city"],
      additionalProperties: false,
    },
  },
};
const called = await api.chat.completions.create({...options, max_tokens: 100, tools: [tool], tool_choice: "required"});
const call = called.choices[0].message.tool_calls[0];
assert.equal(call.function.name, "get_weather");
assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]);

const schema = {type: "object", properties: {city: {enum: ["Paris", "Rome"]}}, required: ["city"], additionalProperties: false};
const shaped = await api.chat.completions.create({
  ...options,
  response_format: {type: "json_schema", json_schema: {name: "city", schema}},
});
assert.ok(["Paris", "Rome"].includes(JSON.parse(shaped.choices[0].message.content).city));

const vectors = await api.embeddings.create({model, input: ["a", "b"]});
assert.deepEqual(vectors.data.map(item => item.embedding.length), [576, 576]);
assert.deepEqual((await api.models.list()).data.map(item => item.id), [model]);
await assert.rejects(api.chat.completions.create({...options, temperature: 9}), error => {
  assert.ok(error instanceof OpenAI.BadRequestError);
  assert.equal(error.param, "temperature");
  return true;
});
await assert.rejects(api.models.retrieve("other"), OpenAI.NotFoundError);
console.log("javascript client: ok");
