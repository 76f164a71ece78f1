// Tries the official clients for Node, unmodified, against a running server.
//
//     mkdir -p /tmp/node && cp benches/clients/node_clients.mjs /tmp/node && cd /tmp/node
//     npm i openai @anthropic-ai/sdk ai @ai-sdk/openai-compatible
//     picnic serve /path/to/SmolLM2-135M-Instruct --port 8202
//     node node_clients.mjs http://127.0.0.1:8202 [--model NAME] [--key KEY] [--only PART] [--pending PART]...
//
// Node looks for packages beside the script, hence the copy. The base URL is given without /v1. Every check prints `ok NAME`
// or `FAILED NAME: why`, and a table stands at the end; the exit code is 1 if any failed. `--only` runs the checks with this
// text in their names; those named by `--pending` are run and shown, but do not count.

import { parseArgs } from "node:util";
import OpenAI, { AzureOpenAI } from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from "ai";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string" },
    key: { type: "string", default: "none" },
    only: { type: "string", default: "" },
    pending: { type: "string", multiple: true, default: [] },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node node_clients.mjs URL [--model NAME] [--key KEY] [--only PART] [--pending PART]...");
  process.exit(2);
}
const url = positionals[0].replace(/\/+$/, "");
const key = options.key;
const limits = { maxRetries: 0, timeout: 120_000 };
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, ...limits });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, ...limits });
const model = options.model ?? (await openai.models.list()).data[0].id;
const compatible = createOpenAICompatible({ name: "picnic", baseURL: `${url}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true });

const SHORT = 24;
const HELLO = [
  { role: "system", content: "You are a friendly assistant." },
  { role: "user", content: "What is the capital of France?" },
];
const LONG = "word ".repeat(20_000);
const WEATHER = {
  type: "object",
  properties: { city: { type: "string", enum: ["Paris", "Rome"] }, celsius: { type: "boolean" } },
  required: ["city", "celsius"],
  additionalProperties: false,
};
const CHAT_TOOL = { type: "function", function: { name: "get_weather", description: "The weather in a city.", parameters: WEATHER, strict: true } };
const ask = (more = {}) => ({ model, messages: HELLO, max_tokens: SHORT, temperature: 0, seed: 7, ...more });
const respond = (more = {}) => ({ model, input: HELLO[1].content, instructions: HELLO[0].content, temperature: 0, max_output_tokens: SHORT, ...more });
const claude = (more = {}) => ({ model, system: HELLO[0].content, messages: [HELLO[1]], max_tokens: SHORT, temperature: 0, ...more });

/** Fails with both values unless they are the same. */
function same(what, found, wanted) {
  const [one, two] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (one !== two) throw new Error(`${what} is ${one} instead of ${two}`);
}

/** Fails with the reason unless the condition holds. */
function holds(condition, why) {
  if (!condition) throw new Error(why);
}

/** Fails unless these arguments, as text or as an object, fit the weather tool. */
function weather(found) {
  const value = typeof found === "string" ? JSON.parse(found) : found;
  same("the set of arguments", Object.keys(value ?? {}).sort(), ["celsius", "city"]);
  holds(["Paris", "Rome"].includes(value.city) && typeof value.celsius === "boolean", `arguments do not fit: ${JSON.stringify(value)}`);
}

/** Fails unless the promise is refused with this class of error and, if given, this code; gives the error. */
async function refused(kind, code, promise) {
  let error;
  try {
    await promise;
  } catch (found) {
    error = found;
  }
  holds(error, "the request was accepted");
  holds(error instanceof kind, `${error.constructor.name} instead of ${kind.name}: ${error.message}`);
  if (code) same("the code", error.code, code);
  return error;
}

/** Everything that an iterator gives. */
async function all(iterator) {
  const found = [];
  for await (const item of iterator) found.push(item);
  return found;
}

const text = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

const checks = {
  async openai_models() {
    holds((await openai.models.list()).data.some((item) => item.id === model), "the model is not listed");
    same("the model's name", (await openai.models.retrieve(model)).id, model);
  },

  async openai_chat() {
    const answer = await openai.chat.completions.create(ask());
    holds(answer.choices[0].message.content, "the content is empty");
    same("the total", answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  },

  async openai_stream() {
    const whole = await openai.chat.completions.create(ask());
    const chunks = await all(await openai.chat.completions.create(ask({ stream: true, stream_options: { include_usage: true } })));
    same("the joined text", text(chunks), whole.choices[0].message.content);
    same("the usage", chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
    const runner = openai.chat.completions.stream(ask());
    same("the text of the accumulator", (await runner.finalChatCompletion()).choices[0].message.content, whole.choices[0].message.content);
  },

  async openai_two_answers() {
    const answer = await openai.chat.completions.create(ask({ n: 2, temperature: 1 }));
    same("the indexes", answer.choices.map((choice) => choice.index), [0, 1]);
  },

  async openai_logprobs() {
    const choice = (await openai.chat.completions.create(ask({ logprobs: true, top_logprobs: 3 }))).choices[0];
    for (const entry of choice.logprobs.content) {
      same("the number of top_logprobs", entry.top_logprobs.length, 3);
      holds(Math.abs(entry.logprob - entry.top_logprobs[0].logprob) < 1e-6, `${entry.token} is not the likeliest`);
    }
  },

  async openai_json_schema() {
    const format = { type: "json_schema", json_schema: { name: "weather", schema: WEATHER, strict: true } };
    weather((await openai.chat.completions.parse(ask({ response_format: format, max_tokens: 120 }))).choices[0].message.parsed);
  },

  async openai_tool() {
    const wanted = { tools: [CHAT_TOOL], tool_choice: { type: "function", function: { name: "get_weather" } }, parallel_tool_calls: false, max_tokens: 200 };
    const { message, finish_reason } = (await openai.chat.completions.create(ask(wanted))).choices[0];
    holds(message.tool_calls?.length, `no call came, but ${JSON.stringify(message.content)}`);
    weather(message.tool_calls[0].function.arguments);
    holds(["tool_calls", "stop"].includes(finish_reason), `finish_reason is ${finish_reason}`);
    const streamed = (await openai.chat.completions.stream(ask(wanted)).finalChatCompletion()).choices[0].message.tool_calls;
    same("the streamed arguments", JSON.parse(streamed[0].function.arguments), JSON.parse(message.tool_calls[0].function.arguments));
    const messages = [...HELLO, message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "21 degrees" }];
    holds((await openai.chat.completions.create(ask({ messages, tools: [CHAT_TOOL], tool_choice: "none" }))).choices[0].message.content, "no answer came after the result");
  },

  async openai_tool_runner() {
    // The client calls the function by itself and sends its result.
    let called = 0;
    const runner = openai.chat.completions.runTools(ask({
      max_tokens: 200,
      parallel_tool_calls: false,
      tools: [{ type: "function", function: { ...CHAT_TOOL.function, parse: JSON.parse, function: (found) => { called += 1; weather(found); return "21 degrees"; } } }],
      tool_choice: { type: "function", function: { name: "get_weather" } },
    }));
    await runner.done();
    same("the number of calls", called, 1);
  },

  async openai_cancel() {
    const stream = await openai.chat.completions.create(ask({ max_tokens: 600, stream: true }));
    let seen = 0;
    for await (const _ of stream) if (++seen === 4) break;
    const start = Date.now();
    await openai.chat.completions.create(ask({ max_tokens: 2 }));
    holds(Date.now() - start < 5000, `the next request took ${Date.now() - start} ms`);
    const aborter = new AbortController();
    setTimeout(() => aborter.abort(), 5);
    await refused(OpenAI.APIUserAbortError, null, openai.chat.completions.create(ask({ max_tokens: 600, n: 8, temperature: 1 }), { signal: aborter.signal }));
  },

  async openai_embeddings() {
    // This client, too, asks for base64 by itself.
    const coded = await openai.embeddings.create({ model, input: ["A cat.", "A dog."] });
    const plain = await openai.embeddings.create({ model, input: ["A cat.", "A dog."], encoding_format: "float" });
    same("the indexes", coded.data.map((item) => item.index), [0, 1]);
    coded.data.forEach((item, at) => {
      same("the length", item.embedding.length, plain.data[at].embedding.length);
      holds(item.embedding.every((value, i) => Math.abs(value - plain.data[at].embedding[i]) < 1e-5), "base64 and numbers differ");
    });
  },

  async openai_errors() {
    await refused(OpenAI.NotFoundError, "model_not_found", openai.chat.completions.create(ask({ model: "no-such-model" })));
    const error = await refused(OpenAI.BadRequestError, "context_length_exceeded", openai.chat.completions.create(ask({ messages: [{ role: "user", content: LONG }] })));
    holds(error.message.includes("maximum context length"), `the words are not OpenAI's: ${error.message}`);
    await refused(OpenAI.APIError, null, openai.chat.completions.create(ask({ temperature: "hot" })));
  },

  async responses() {
    const whole = await openai.responses.create(respond());
    holds(whole.output_text, "the text is empty");
    const events = await all(await openai.responses.create(respond({ stream: true })));
    same("the first event", events[0].type, "response.created");
    holds(["response.completed", "response.incomplete"].includes(events.at(-1).type), `the last event is ${events.at(-1).type}`);
    same("the joined text", events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join(""), whole.output_text);
    same("the final response", (await openai.responses.stream(respond()).finalResponse()).output_text, whole.output_text);
  },

  async responses_json_schema() {
    const answer = await openai.responses.parse(respond({ max_output_tokens: 120, text: { format: { type: "json_schema", name: "weather", schema: WEATHER, strict: true } } }));
    weather(answer.output_parsed);
  },

  async responses_tool() {
    const wanted = { tools: [{ type: "function", name: "get_weather", description: "The weather.", parameters: WEATHER, strict: true }], tool_choice: { type: "function", name: "get_weather" }, parallel_tool_calls: false, max_output_tokens: 200 };
    const answer = await openai.responses.create(respond(wanted));
    const call = answer.output.find((item) => item.type === "function_call");
    holds(call, `no call came, but ${JSON.stringify(answer.output_text)}`);
    weather(call.arguments);
    const final = await openai.responses.stream(respond(wanted)).finalResponse();
    weather(final.output.find((item) => item.type === "function_call").arguments);
  },

  async azure() {
    const client = new AzureOpenAI({ endpoint: url, apiKey: key, apiVersion: "2024-10-21", ...limits });
    same("the answer", (await client.chat.completions.create(ask())).choices[0].message.content, (await openai.chat.completions.create(ask())).choices[0].message.content);
    holds((await client.embeddings.create({ model, input: "A cat." })).data[0].embedding.length, "no embedding came");
  },

  async anthropic_whole() {
    const answer = await anthropic.messages.create(claude());
    same("the kinds of blocks without `thinking`", answer.content.map((block) => block.type), ["text"]);
    holds(["end_turn", "max_tokens"].includes(answer.stop_reason), `stop_reason is ${answer.stop_reason}`);
    holds(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0, "no tokens were counted");
  },

  async anthropic_stream() {
    const whole = await anthropic.messages.create(claude());
    const kinds = [];
    const stream = anthropic.messages.stream(claude());
    stream.on("streamEvent", (event) => { if (event.type !== "ping" && kinds.at(-1) !== event.type) kinds.push(event.type); });
    const final = await stream.finalMessage();
    const blocks = whole.content.flatMap(() => ["content_block_start", "content_block_delta", "content_block_stop"]);
    same("the order", kinds, ["message_start", ...blocks, "message_delta", "message_stop"]);
    same("the content", final.content, whole.content);
    same("output_tokens", final.usage.output_tokens, whole.usage.output_tokens);
  },

  async anthropic_count() {
    const { model: name, system, messages } = claude();
    const { usage } = await anthropic.messages.create(claude({ max_tokens: 1 }));
    same("the count", (await anthropic.messages.countTokens({ model: name, system, messages })).input_tokens,
      usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0));
  },

  async anthropic_tool() {
    const wanted = { tools: [{ name: "get_weather", description: "The weather.", input_schema: WEATHER }], tool_choice: { type: "tool", name: "get_weather", disable_parallel_tool_use: true }, max_tokens: 200 };
    const answer = await anthropic.messages.create(claude(wanted));
    const call = answer.content.find((block) => block.type === "tool_use");
    holds(call, `no call came, but ${JSON.stringify(answer.content)}`);
    weather(call.input);
    const final = await anthropic.messages.stream(claude(wanted)).finalMessage();
    weather(final.content.find((block) => block.type === "tool_use").input);
  },

  async anthropic_errors() {
    await refused(Anthropic.NotFoundError, null, anthropic.messages.create(claude({ model: "no-such-model" })));
    const error = await refused(Anthropic.BadRequestError, null, anthropic.messages.create(claude({ messages: [{ role: "user", content: LONG }] })));
    holds(error.message.includes("prompt is too long"), `the words are not Anthropic's: ${error.message}`);
  },

  async ai_text() {
    const wanted = { model: compatible(model), system: HELLO[0].content, prompt: HELLO[1].content, maxOutputTokens: SHORT, temperature: 0, seed: 7, maxRetries: 0 };
    const whole = await generateText(wanted);
    holds(whole.text, "the text is empty");
    const stream = streamText(wanted);
    same("the streamed text", (await all(stream.textStream)).join(""), whole.text);
    same("the usage", (await stream.usage).outputTokens, whole.usage.outputTokens);
    holds(["stop", "length"].includes(await stream.finishReason), `finishReason is ${await stream.finishReason}`);
  },

  async ai_object() {
    const found = await generateText({ model: compatible(model), prompt: HELLO[1].content, temperature: 0, maxRetries: 0, maxOutputTokens: 120, output: Output.object({ schema: jsonSchema(WEATHER) }) });
    weather(found.output);
  },

  async ai_large_limit() {
    // opencode asks for 32,000 tokens whatever the context is; this is to be cut to what fits, or refused in clear words.
    try {
      const aborter = new AbortController();
      const stream = streamText({ model: compatible(model), prompt: "Hi", maxOutputTokens: 32_000, maxRetries: 0, abortSignal: aborter.signal, onError() {} });
      let seen = 0;
      for await (const part of stream.fullStream) {
        if (part.type === "error") throw part.error;
        if (part.type === "text-delta" && ++seen === 3) break;
      }
      aborter.abort();
      holds(seen > 0, "no text came");
    } catch (error) {
      holds(/max_tokens|maximum context length/.test(error.message), error.message);
    }
  },

  async ai_tool() {
    const wanted = { model: compatible(model), prompt: HELLO[1].content, temperature: 0, maxRetries: 0, maxOutputTokens: 120, tools: { get_weather: tool({ description: "The weather.", inputSchema: jsonSchema(WEATHER) }) }, toolChoice: { type: "tool", toolName: "get_weather" } };
    const whole = await generateText(wanted);
    holds(whole.toolCalls.length, `no call came, but ${JSON.stringify(whole.text)}`);
    weather(whole.toolCalls[0].input);
    const streamed = await streamText(wanted).toolCalls;
    weather(streamed[0].input);
  },

  async ai_embeddings() {
    const found = await embedMany({ model: compatible.embeddingModel(model), values: ["A cat.", "A dog."], maxRetries: 0 });
    same("the number of vectors", found.embeddings.length, 2);
  },
};

const table = [];
for (const [name, check] of Object.entries(checks)) {
  if (!name.includes(options.only)) continue;
  const start = Date.now();
  let found = "ok";
  let why = "";
  try {
    await check();
  } catch (error) {
    found = options.pending.some((part) => name.includes(part)) ? "pending" : "FAILED";
    why = `: ${error.constructor.name === "Error" ? "" : `${error.constructor.name}: `}${error.message}`.replace(/\s+/g, " ").slice(0, 400);
  }
  table.push([name, found, (Date.now() - start) / 1000]);
  console.log(`${found} ${name}${why}`);
}
console.log();
for (const [name, found, seconds] of table) console.log(`${name.padEnd(28)} ${found.padEnd(8)} ${seconds.toFixed(1).padStart(6)} s`);
const failed = table.filter((row) => row[1] === "FAILED").length;
console.log(`${table.filter((row) => row[1] === "ok").length} of ${table.length} ok, ${failed} failed`);
process.exit(failed ? 1 : 0);
