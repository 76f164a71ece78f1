#!/usr/bin/env python3
"""Tries the official Python clients, unmodified, against a running server.

    python -m venv venv && venv/bin/pip install openai anthropic langchain-openai
    picnic serve /path/to/SmolLM2-135M-Instruct --port 8202
    venv/bin/python benches/clients/python_clients.py http://127.0.0.1:8202 [--model NAME] [--key KEY] [--only PART] [--without PART] [--pending PART]

The base URL is given without `/v1`. Every check prints `ok NAME` or `FAILED NAME: why`, and a table stands at the end; the
exit code is 1 if any check failed. `--only` runs the checks with this text in their names, `--without` those without it;
those named by `--pending` are run and shown, but do not count. The checks ask for what a client needs, never for what a
good model would say, so any model that can follow a grammar will do, that of sentence_model.py too.
"""

import argparse
import asyncio
import base64
import json
import math
import struct
import sys
import time
import traceback
import urllib.request

import anthropic
import openai

# Enough for the server to find its end, and short enough for a machine with two cores.
SHORT = 24
# Enough for the models that the tests are run with to end by themselves, as some of the clients' helpers demand.
LONGER = 200
GREEDY = {"temperature": 0, "seed": 7}
HELLO = [{"role": "system", "content": "You are a friendly assistant."}, {"role": "user", "content": "What is the capital of France?"}]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "celsius": {"type": "boolean"}},
    "required": ["city", "celsius"],
    "additionalProperties": False,
}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": WEATHER, "strict": True}}
CHOSEN = {"type": "function", "function": {"name": "get_weather"}}

# Small models like to call again and again.
ONE_CALL = {"max_tokens": 200, "parallel_tool_calls": False}

CHECKS = []


def check(function):
    """Adds a function to the list of checks, under its own name."""
    CHECKS.append(function)
    return function


def same(what, found, wanted):
    """Fails with both values if they differ."""
    if found != wanted:
        raise AssertionError(f"{what} is {found!r} instead of {wanted!r}")


def holds(condition, why):
    """Fails with the reason if the condition does not hold."""
    if not condition:
        raise AssertionError(why)


def weather(arguments):
    """Fails unless the arguments, as text or as an object, fit the schema of the weather tool."""
    found = json.loads(arguments) if isinstance(arguments, str) else arguments
    same("the set of arguments", sorted(found), ["celsius", "city"])
    holds(found["city"] in ("Paris", "Rome") and isinstance(found["celsius"], bool), f"arguments do not fit: {found}")


def person(text):
    """Fails unless the text is an object of the person schema."""
    found = json.loads(text)
    same("the set of members", sorted(found), ["age", "name"])
    holds(isinstance(found["name"], str) and isinstance(found["age"], int) and 0 <= found["age"] <= 120, f"not a person: {found}")


def text_of(message):
    """The text of an Anthropic message, whether or not a thought stands before it."""
    return "".join(block.text for block in message.content if block.type == "text")


class Bench:
    """The clients, all of the same server."""

    def __init__(self, url, model, key):
        self.url = url.rstrip("/")
        self.openai = openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=120)
        self.strict = openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=120, _strict_response_validation=True)
        self.key = key
        self.model = model or self.openai.models.list().data[0].id
        self.anthropic = anthropic.Anthropic(base_url=self.url, api_key=key, max_retries=0, timeout=120)

    def ask(self, client=None, **settings):
        """A chat completion of the usual conversation, with the given settings on top."""
        return (client or self.openai).chat.completions.create(
            **{"model": self.model, "messages": HELLO, "max_tokens": SHORT, **GREEDY, **settings})

    def too_long(self):
        """A text with more words, and so with more tokens, than a conversation may have."""
        return "word " * (self.openai.models.retrieve(self.model).model_dump()["max_model_len"] + 1)

    def running(self):
        """How many requests the server says are being answered."""
        request = urllib.request.Request(self.url + "/v1/metrics", headers={"Authorization": f"Bearer {self.key}"})
        for line in urllib.request.urlopen(request, timeout=10).read().decode().splitlines():
            if "num_requests_running" in line and not line.startswith("#"):
                return float(line.split()[-1])
        raise AssertionError("there is no num_requests_running in /v1/metrics")


# The openai package: models and conversations.


@check
def openai_models(b):
    """The list of models, and one by its name."""
    models = b.strict.models.list()
    holds(b.model in [model.id for model in models], f"{b.model} is not listed")
    same("the model's name", b.strict.models.retrieve(b.model).id, b.model)


@check
def openai_chat(b):
    """A conversation of several turns, with its usage."""
    first = b.ask(b.strict)
    choice = first.choices[0]
    holds(choice.message.content, "the content is empty")
    same("the role", choice.message.role, "assistant")
    holds(choice.finish_reason in ("stop", "length"), f"finish_reason is {choice.finish_reason}")
    same("the object", first.object, "chat.completion")
    same("the total", first.usage.total_tokens, first.usage.prompt_tokens + first.usage.completion_tokens)
    holds(0 < first.usage.completion_tokens <= SHORT, f"{first.usage.completion_tokens} tokens were counted")
    holds(abs(first.created - time.time()) < 3600, f"created is {first.created}")
    more = HELLO + [{"role": "assistant", "content": choice.message.content}, {"role": "user", "content": "And of Italy?"}]
    second = b.ask(b.strict, messages=more)
    holds(second.usage.prompt_tokens > first.usage.prompt_tokens, "the longer conversation has no more tokens")


@check
def openai_chat_parts(b):
    """Content given in parts and the developer's role mean the same as plain text and the system's."""
    parts = [{"role": "developer", "content": [{"type": "text", "text": HELLO[0]["content"]}]},
             {"role": "user", "content": [{"type": "text", "text": HELLO[1]["content"]}]}]
    same("the answer", b.ask(messages=parts).choices[0].message.content, b.ask().choices[0].message.content)


@check
def openai_chat_newer_length(b):
    """max_completion_tokens is obeyed like max_tokens."""
    answer = b.ask(max_tokens=openai.NOT_GIVEN, max_completion_tokens=3)
    holds(answer.usage.completion_tokens <= 3, f"{answer.usage.completion_tokens} tokens came")


@check
def openai_stream(b):
    """The deltas of a stream, joined, are the whole answer; the usage comes last."""
    whole = b.ask()
    text, finish, usage, ids = "", [], [], set()
    for chunk in b.ask(b.strict, stream=True, stream_options={"include_usage": True}):
        ids.add(chunk.id)
        same("the object", chunk.object, "chat.completion.chunk")
        if chunk.usage:
            same("choices beside the usage", chunk.choices, [])
            usage.append(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish += [choice.finish_reason] if choice.finish_reason else []
    same("the joined text", text, whole.choices[0].message.content)
    same("finish_reason", finish, [whole.choices[0].finish_reason])
    same("the number of usages", len(usage), 1)
    same("completion_tokens", usage[0].completion_tokens, whole.usage.completion_tokens)
    same("the number of ids", len(ids), 1)


@check
def openai_stream_without_usage(b):
    """No chunk without choices comes if no usage was asked for; some clients would read past its end."""
    for chunk in b.ask(stream=True):
        holds(chunk.choices, "a chunk without choices came")


@check
def openai_stream_helper(b):
    """The client's own accumulator of streams agrees with the whole answer."""
    with b.openai.chat.completions.stream(model=b.model, messages=HELLO, max_tokens=LONGER, **GREEDY) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    holds({"chunk", "content.delta", "content.done"} <= kinds, f"only these events came: {sorted(kinds)}")
    same("the text", final.choices[0].message.content, b.ask(max_tokens=LONGER).choices[0].message.content)


@check
def openai_thinking(b):
    """What a model thinks stands beside its answer, whole and streamed, under DeepSeek's name; a model that does not think has none."""
    whole = b.ask(max_tokens=LONGER)
    message = whole.choices[0].message
    thought, content = "", ""
    for chunk in b.ask(max_tokens=LONGER, stream=True):
        for choice in chunk.choices:
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            content += choice.delta.content or ""
    same("the streamed thought and text", (thought, content), (getattr(message, "reasoning_content", None) or "", message.content))
    counted = whole.usage.completion_tokens_details.reasoning_tokens if whole.usage.completion_tokens_details else 0
    holds(bool(thought) == bool(counted), f"{counted} tokens are counted as thought, which is {thought!r}")


@check
def openai_two_answers(b):
    """n = 2 gives two choices with the indexes 0 and 1, whole and streamed."""
    answer = b.ask(b.strict, n=2, temperature=1)
    same("the indexes", [choice.index for choice in answer.choices], [0, 1])
    texts = ["", ""]
    for chunk in b.ask(b.strict, n=2, temperature=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    same("the streamed texts", texts, [choice.message.content for choice in answer.choices])


@check
def openai_logprobs(b):
    """Log-probabilities: one entry a token, the drawn one among the likeliest at temperature 0, bytes that spell the text."""
    answer = b.ask(b.strict, logprobs=True, top_logprobs=5, max_tokens=64)
    found = answer.choices[0].logprobs.content
    thought = answer.usage.completion_tokens_details.reasoning_tokens if answer.usage.completion_tokens_details else 0
    holds(answer.usage.completion_tokens - (thought + 3 if thought else 1) <= len(found) <= answer.usage.completion_tokens,
          f"{len(found)} entries for {answer.usage.completion_tokens} tokens, {thought} of them thought")
    for entry in found:
        same("the number of top_logprobs", len(entry.top_logprobs), 5)
        best = [other.logprob for other in entry.top_logprobs]
        same("the order of top_logprobs", best, sorted(best, reverse=True))
        holds(abs(entry.logprob - best[0]) < 1e-6 and entry.logprob <= 0, f"{entry.token!r} has {entry.logprob}, the best {best[0]}")
    spelt = b"".join(bytes(entry.bytes or ()) for entry in found).decode(errors="replace")
    holds(spelt.startswith(answer.choices[0].message.content), f"the bytes spell {spelt!r}")
    streamed = [entry.logprob for chunk in b.ask(logprobs=True, top_logprobs=5, max_tokens=64, stream=True)
                for choice in chunk.choices if choice.logprobs for entry in choice.logprobs.content or []]
    same("the number of streamed entries", len(streamed), len(found))
    holds(max(abs(one - two.logprob) for one, two in zip(streamed, found)) < 1e-4, "the streamed values differ")


@check
def openai_stop(b):
    """A stop string ends the answer and is not part of it."""
    whole = b.ask().choices[0].message.content
    mark = whole[len(whole) // 2:][:3]
    answer = b.ask(stop=[mark]).choices[0]
    same("the text", answer.message.content, whole.split(mark)[0])
    same("finish_reason", answer.finish_reason, "stop")


@check
def openai_json_schema(b):
    """An answer by a schema can be parsed and fits it, whole, streamed and through the client's parser."""
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    answer = b.ask(b.strict, response_format=shape, max_tokens=120)
    person(answer.choices[0].message.content)
    person("".join(choice.delta.content or "" for chunk in b.ask(response_format=shape, max_tokens=120, stream=True) for choice in chunk.choices))


@check
def openai_json_parse(b):
    """The client makes a schema of a class and an object of the answer."""
    import pydantic

    class Flag(pydantic.BaseModel):
        right: bool
        kind: str = pydantic.Field(json_schema_extra={"enum": ["city", "river"]})

    answer = b.openai.chat.completions.parse(model=b.model, messages=HELLO, response_format=Flag, max_tokens=120, **GREEDY)
    holds(isinstance(answer.choices[0].message.parsed, Flag), f"nothing was parsed of {answer.choices[0].message.content!r}")


@check
def openai_json_object(b):
    """json_object gives an object, or is cut by the length."""
    choice = b.ask(response_format={"type": "json_object"}, max_tokens=200).choices[0]
    holds(choice.message.content.lstrip().startswith("{"), f"the answer is {choice.message.content!r}")
    holds(choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict), "the answer is not an object")


# The openai package: tools.


@check
def openai_tool_named(b):
    """A tool chosen by its name is called with arguments that fit, and its result is accepted."""
    answer = b.ask(b.strict, tools=[CHAT_TOOL], tool_choice=CHOSEN, **ONE_CALL)
    message = answer.choices[0].message
    holds(message.tool_calls, f"no call came, but {message.content!r}")
    call = message.tool_calls[0]
    same("the name", call.function.name, "get_weather")
    weather(call.function.arguments)
    holds(isinstance(call.id, str) and call.id, f"the id is {call.id!r}")
    holds(answer.choices[0].finish_reason in ("tool_calls", "stop"), f"finish_reason is {answer.choices[0].finish_reason}")
    more = HELLO + [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'}]
    holds(b.ask(messages=more, tools=[CHAT_TOOL], tool_choice="none").choices[0].message.content, "no answer came after the result")


@check
def openai_tool_required(b):
    """tool_choice required gives a call, and finish_reason says so."""
    choice = b.ask(tools=[CHAT_TOOL], tool_choice="required", **ONE_CALL).choices[0]
    holds(choice.message.tool_calls, f"no call came, but {choice.message.content!r}")
    same("finish_reason", choice.finish_reason, "tool_calls")
    weather(choice.message.tool_calls[0].function.arguments)


@check
def openai_tool_stream(b):
    """The chunks of a streamed call have a stable index, an id once, and arguments that join to the whole ones."""
    whole = b.ask(tools=[CHAT_TOOL], tool_choice=CHOSEN, **ONE_CALL).choices[0].message.tool_calls
    calls, finish = {}, None
    for chunk in b.ask(b.strict, tools=[CHAT_TOOL], tool_choice=CHOSEN, **ONE_CALL, stream=True):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": [], "name": "", "arguments": ""})
                call["id"] += [part.id] if part.id else []
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
    same("the indexes", list(calls), [0])
    same("the number of ids", len(set(calls[0]["id"])), 1)
    same("the name", calls[0]["name"], "get_weather")
    weather(calls[0]["arguments"])
    same("the arguments", json.loads(calls[0]["arguments"]), json.loads(whole[0].function.arguments))
    same("finish_reason", finish, "tool_calls")


@check
def openai_tool_stream_helper(b):
    """The client's accumulator of streams makes a whole call of the chunks."""
    with b.openai.chat.completions.stream(model=b.model, messages=HELLO, tools=[CHAT_TOOL], tool_choice=CHOSEN, **ONE_CALL, **GREEDY) as stream:
        kinds = {event.type for event in stream}
        calls = stream.get_final_completion().choices[0].message.tool_calls
    holds(calls, f"no call came; the events were {sorted(kinds)}")
    weather(calls[0].function.arguments)
    holds("tool_calls.function.arguments.done" in kinds, f"the events were {sorted(kinds)}")


@check
def openai_tool_named_once(b):
    """A tool chosen by its name is called exactly once, whether or not parallel calls are allowed."""
    choice = b.ask(tools=[CHAT_TOOL], tool_choice=CHOSEN, max_tokens=200).choices[0]
    same("the number of calls", len(choice.message.tool_calls or []), 1)


@check
def openai_tool_ids(b):
    """The ids of calls never repeat, not even with the same seed: clients keep results by them."""
    ids = [b.ask(tools=[CHAT_TOOL], tool_choice=CHOSEN, **ONE_CALL).choices[0].message.tool_calls[0].id for _ in range(2)]
    holds(ids[0] != ids[1], f"both calls have the id {ids[0]}")


@check
def openai_tool_cut(b):
    """A call that is cut by the length is not shown as text."""
    choice = b.ask(tools=[CHAT_TOOL], tool_choice=CHOSEN, max_tokens=14, parallel_tool_calls=False).choices[0]
    same("finish_reason", choice.finish_reason, "length")
    holds(not choice.message.content, f"the text is {choice.message.content!r}")


# The openai package: the rest.


@check
def openai_cancel(b):
    """A stream that is closed in its middle stops at once, and the next request is answered."""
    stream = b.ask(stream=True, max_tokens=600, logit_bias=None, stop=None)
    for _ in zip(range(4), stream):
        pass
    stream.close()
    start = time.time()
    b.ask(max_tokens=2)
    waited = time.time() - start
    holds(waited < 5, f"the next request took {waited:.1f} s")
    for _ in range(20):
        if b.running() == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{b.running():.0f} requests still run two seconds later")


@check
def openai_many_at_once(b):
    """The asynchronous client gets twelve answers at once, all the same at temperature 0."""

    async def all_of_them():
        client = openai.AsyncOpenAI(base_url=b.url + "/v1", api_key=b.key, max_retries=0, timeout=120)
        answers = await asyncio.gather(*[client.chat.completions.create(model=b.model, messages=HELLO, max_tokens=8, **GREEDY) for _ in range(12)])
        await client.close()
        return {answer.choices[0].message.content for answer in answers}

    same("the number of different answers", len(asyncio.run(all_of_them())), 1)


@check
def openai_completions(b):
    """A plain completion, whole and streamed, and one that shows its prompt with log-probabilities."""
    ask = dict(model=b.model, prompt="Once upon a time", max_tokens=8, **GREEDY)
    whole = b.strict.completions.create(**ask)
    text = "".join(choice.text for chunk in b.openai.completions.create(**ask, stream=True) for choice in chunk.choices)
    same("the joined text", text, whole.choices[0].text)
    # The first token has no probability; OpenAI's types deny the null that its server sent there too.
    shown = b.openai.completions.create(**{**ask, "echo": True, "logprobs": 1, "max_tokens": 1}).choices[0]
    holds(shown.text.startswith("Once upon a time"), f"the text is {shown.text!r}")
    values = shown.logprobs
    same("the first value", values.token_logprobs[0], None)
    same("the lengths", len({len(values.tokens), len(values.token_logprobs), len(values.top_logprobs), len(values.text_offset)}), 1)
    # A model whose text begins with a mark of its own shows it among the tokens, not in the text.
    holds("".join(values.tokens).endswith(shown.text), f"the tokens are {values.tokens}")


@check
def openai_embeddings(b):
    """Embeddings, in the base64 that the client asks for by itself and as numbers, are the same unit vectors."""
    texts = ["A cat sat on the mat.", "The stock exchange closed lower."]
    coded = b.openai.embeddings.create(model=b.model, input=texts)
    plain = b.strict.embeddings.create(model=b.model, input=texts, encoding_format="float")
    same("the indexes", [item.index for item in coded.data], [0, 1])
    for one, two in zip(coded.data, plain.data):
        same("the length", len(one.embedding), len(two.embedding))
        holds(max(abs(x - y) for x, y in zip(one.embedding, two.embedding)) < 1e-5, "base64 and numbers differ")
        holds(abs(math.sqrt(sum(x * x for x in two.embedding)) - 1) < 1e-3, "the vector has not the length 1")
    holds(coded.usage.prompt_tokens > 0, "no tokens were counted")
    request = urllib.request.Request(b.url + "/v1/embeddings", headers={"Authorization": f"Bearer {b.key}", "Content-Type": "application/json"},
                                     data=json.dumps({"model": b.model, "input": texts[0], "encoding_format": "base64"}).encode())
    raw = json.load(urllib.request.urlopen(request, timeout=60))["data"][0]["embedding"]
    first = struct.unpack("<f", base64.b64decode(raw)[:4])[0]
    holds(abs(first - plain.data[0].embedding[0]) < 1e-5, "the base64 is not of little-endian 32-bit floats")


def refused(kind, code, ask):
    """Fails unless asking raises this kind of error, with this code if one is given."""
    try:
        ask()
    except kind as error:
        holds(code is None or getattr(error, "code", None) == code, f"the code is {getattr(error, 'code', None)!r}: {error}")
        return error
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} instead of {kind.__name__}: {error}") from None
    raise AssertionError("the request was accepted")


@check
def openai_errors(b):
    """Errors arrive as the client's own classes, with the codes and words that others look for."""
    refused(openai.NotFoundError, "model_not_found", lambda: b.ask(model="no-such-model"))
    long = [{"role": "user", "content": b.too_long()}]
    error = refused(openai.BadRequestError, "context_length_exceeded", lambda: b.ask(messages=long))
    holds("maximum context length" in str(error), f"the words are not OpenAI's: {error}")
    refused(openai.BadRequestError, "context_length_exceeded", lambda: list(b.ask(messages=long, stream=True)))
    refused((openai.BadRequestError, openai.UnprocessableEntityError), None, lambda: b.ask(temperature=-3))
    refused((openai.BadRequestError, openai.UnprocessableEntityError), None, lambda: b.ask(messages=[]))
    refused((openai.BadRequestError, openai.UnprocessableEntityError), None, lambda: b.ask(max_tokens=-1))
    refused((openai.BadRequestError, openai.UnprocessableEntityError), None, lambda: b.ask(n=0))
    refused(openai.NotFoundError, None, lambda: b.openai.images.generate(model=b.model, prompt="A cat."))


# The openai package: the responses API.

RESPONSE = {"input": "What is the capital of France?", "instructions": "You are a friendly assistant.", "temperature": 0, "max_output_tokens": SHORT}
FUNCTION = {"type": "function", "name": "get_weather", "description": "The weather in a city.", "parameters": WEATHER, "strict": True}


@check
def responses_whole(b):
    """A response has a message with text, a status and its usage."""
    answer = b.strict.responses.create(model=b.model, **RESPONSE)
    holds(answer.output_text, "the text is empty")
    holds(answer.status in ("completed", "incomplete"), f"the status is {answer.status}")
    if answer.status == "incomplete":
        same("the reason", answer.incomplete_details.reason, "max_output_tokens")
    same("the total", answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)
    items = [{"role": "user", "content": [{"type": "input_text", "text": RESPONSE["input"]}]}]
    same("the text of items", b.strict.responses.create(**{**RESPONSE, "model": b.model, "input": items}).output_text, answer.output_text)
    turns = items + [item.model_dump(exclude_none=True) for item in answer.output] + [{"role": "user", "content": "And of Italy?"}]
    holds(b.strict.responses.create(**{**RESPONSE, "model": b.model, "input": turns}).usage.input_tokens > answer.usage.input_tokens, "the replayed items were not read")


@check
def responses_stream(b):
    """The events of a streamed response come in order, numbered, and their deltas join to the whole text."""
    whole = b.strict.responses.create(model=b.model, **RESPONSE)
    events = list(b.strict.responses.create(model=b.model, stream=True, **RESPONSE))
    kinds = [event.type for event in events]
    same("the first event", kinds[0], "response.created")
    holds(kinds[-1] in ("response.completed", "response.incomplete"), f"the last event is {kinds[-1]}")
    wanted = ["response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.done",
              "response.content_part.done", "response.output_item.done"]
    message = [event.item.id for event in events if event.type == "response.output_item.added" and event.item.type == "message"]
    same("the number of messages", len(message), 1)
    same("the order", list(dict.fromkeys(event.type for event in events if event.type in wanted
                                         and (getattr(event, "item_id", None) or event.item.id) == message[0])), wanted)
    thoughts = [event.type for event in events if getattr(event, "item_id", "").startswith("rs_")]
    if thoughts:
        same("the order of a thought", list(dict.fromkeys(thoughts)), ["response.content_part.added", "response.reasoning_text.delta",
                                                                        "response.reasoning_text.done", "response.content_part.done"])
    numbers = [event.sequence_number for event in events]
    same("the numbers", numbers, list(range(numbers[0], numbers[0] + len(numbers))))
    same("the joined text", "".join(event.delta for event in events if event.type == "response.output_text.delta"), whole.output_text)
    same("the last text", events[-1].response.output_text, whole.output_text)
    same("the usage", events[-1].response.usage.output_tokens, whole.usage.output_tokens)


@check
def responses_stream_helper(b):
    """The client's accumulator of responses ends with the whole response."""
    ask = {**RESPONSE, "model": b.model, "max_output_tokens": LONGER}
    with b.openai.responses.stream(**ask) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    same("the text", final.output_text, b.openai.responses.create(**ask).output_text)


@check
def responses_json_schema(b):
    """text.format with a schema gives an answer that fits it."""
    shape = {"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}}
    person(b.strict.responses.create(**{**RESPONSE, "model": b.model, "max_output_tokens": 120}, text=shape).output_text)


@check
def responses_tool(b):
    """A forced function is called, and its output is accepted as an item."""
    choice = {"type": "function", "name": "get_weather"}
    ask = {**RESPONSE, "model": b.model, "max_output_tokens": 200, "parallel_tool_calls": False, "tools": [FUNCTION]}
    answer = b.strict.responses.create(**ask, tool_choice=choice)
    calls = [item for item in answer.output if item.type == "function_call"]
    holds(calls, f"no call came, but {answer.output_text!r}")
    weather(calls[0].arguments)
    turns = [{"role": "user", "content": RESPONSE["input"]}, calls[0].model_dump(exclude_none=True),
             {"type": "function_call_output", "call_id": calls[0].call_id, "output": '{"degrees": 21}'}]
    holds(b.strict.responses.create(**{**ask, "input": turns}, tool_choice="none").output_text, "no answer came after the result")
    events = list(b.strict.responses.create(**ask, tool_choice=choice, stream=True))
    deltas = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    weather(deltas)
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    same("the arguments at the end", done[0].arguments, deltas)


@check
def responses_errors(b):
    """Errors of the responses API: an unknown model, and a prompt that is too long."""
    refused(openai.NotFoundError, "model_not_found", lambda: b.openai.responses.create(**{**RESPONSE, "model": "no-such-model"}))
    refused(openai.BadRequestError, "context_length_exceeded", lambda: b.openai.responses.create(**{**RESPONSE, "model": b.model, "input": b.too_long()}))


# The openai package: Azure's client.


@check
def azure_chat(b):
    """Azure's client, with a deployment in the path, a key in its own header and an api-version."""
    client = openai.AzureOpenAI(azure_endpoint=b.url, api_key=b.key, api_version="2024-10-21", max_retries=0, timeout=120)
    ask = dict(model=b.model, messages=HELLO, max_tokens=SHORT, **GREEDY)
    same("the answer", client.chat.completions.create(**ask).choices[0].message.content, b.ask().choices[0].message.content)
    text = "".join(choice.delta.content or "" for chunk in client.chat.completions.create(**ask, stream=True) for choice in chunk.choices)
    same("the streamed answer", text, b.ask().choices[0].message.content)
    holds(client.embeddings.create(model=b.model, input="A cat.").data[0].embedding, "no embedding came")
    holds(client.completions.create(model=b.model, prompt="Once", max_tokens=3).choices[0].text, "no completion came")
    refused(openai.NotFoundError, None, lambda: client.chat.completions.create(**{**ask, "model": "no-such-model"}))


@check
def azure_newer_path(b):
    """Azure's newer path /openai/v1 with the plain client."""
    client = openai.OpenAI(base_url=b.url + "/openai/v1", api_key=b.key, max_retries=0, timeout=120)
    same("the answer", client.chat.completions.create(model=b.model, messages=HELLO, max_tokens=SHORT, **GREEDY).choices[0].message.content,
         b.ask().choices[0].message.content)


@check
def deepseek_paths(b):
    """DeepSeek's base paths with the plain client: none, and /beta with a started answer."""
    client = openai.OpenAI(base_url=b.url, api_key=b.key, max_retries=0, timeout=120)
    ask = dict(model=b.model, messages=HELLO, max_tokens=SHORT, **GREEDY)
    same("the answer", client.chat.completions.create(**ask).choices[0].message.content, b.ask().choices[0].message.content)
    beta = openai.OpenAI(base_url=b.url + "/beta", api_key=b.key, max_retries=0, timeout=120)
    started = HELLO + [{"role": "assistant", "content": "The capital of", "prefix": True}]
    answer = beta.chat.completions.create(**{**ask, "messages": started})
    holds(answer.choices[0].message.content is not None, "no continuation came")
    extra = answer.usage.model_dump()
    same("the sum of cache hits and misses", extra["prompt_cache_hit_tokens"] + extra["prompt_cache_miss_tokens"], answer.usage.prompt_tokens)


# The anthropic package.

# Newer versions of the package have no parameter for the temperature, so it goes beside them.
CLAUDE = {"max_tokens": SHORT, "extra_body": {"temperature": 0}, "system": "You are a friendly assistant.",
          "messages": [{"role": "user", "content": "What is the capital of France?"}]}
CLAUDE_TOOL = {"name": "get_weather", "description": "The weather in a city.", "input_schema": WEATHER}


@check
def anthropic_whole(b):
    """A message has blocks of text, a stop reason and its usage."""
    answer = b.anthropic.messages.create(model=b.model, **CLAUDE)
    same("the kind", answer.type, "message")
    same("the role", answer.role, "assistant")
    same("the kinds of blocks without `thinking`", [block.type for block in answer.content], ["text"])
    holds(answer.stop_reason in ("end_turn", "max_tokens"), f"stop_reason is {answer.stop_reason}")
    holds(answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, "no tokens were counted")
    same("the text", text_of(answer), b.ask().choices[0].message.content)


@check
def anthropic_blocks(b):
    """System and content as blocks, with cache_control, mean the same as plain text."""
    plain = b.anthropic.messages.create(model=b.model, **CLAUDE)
    block = lambda text: [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    asked = {**CLAUDE, "system": block(CLAUDE["system"]), "messages": [{"role": "user", "content": block(CLAUDE["messages"][0]["content"])}]}
    same("the text", text_of(b.anthropic.messages.create(model=b.model, **asked)), text_of(plain))


@check
def anthropic_stream(b):
    """The events of a stream come in the prescribed order, and their deltas join to the whole text."""
    whole = b.anthropic.messages.create(model=b.model, **CLAUDE)
    events = [event for event in b.anthropic.messages.create(model=b.model, stream=True, **CLAUDE) if event.type != "ping"]
    kinds = [event.type for event in events]
    order = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"]
    order[1:4] *= max(1, len(whole.content))
    same("the order", [kind for at, kind in enumerate(kinds) if not at or kinds[at - 1] != kind], order)
    holds(events[0].message.usage.input_tokens > 0, "message_start counts no input tokens")
    same("the stop reason", events[-2].delta.stop_reason, whole.stop_reason)
    same("output_tokens", events[-2].usage.output_tokens, whole.usage.output_tokens)
    with b.anthropic.messages.stream(model=b.model, **CLAUDE) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    same("the joined text", text, text_of(whole))
    same("the final message", text_of(final), text_of(whole))


@check
def anthropic_count(b):
    """count_tokens agrees with the usage of the message itself."""
    ask = {name: CLAUDE[name] for name in ("system", "messages")}
    counted = b.anthropic.messages.count_tokens(model=b.model, **ask).input_tokens
    usage = b.anthropic.messages.create(model=b.model, **CLAUDE).usage
    same("the count", counted, usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0))


@check
def anthropic_stop(b):
    """A stop sequence ends the answer and is named."""
    text = text_of(b.anthropic.messages.create(model=b.model, **CLAUDE))
    mark = text[len(text) // 2:][:3]
    answer = b.anthropic.messages.create(model=b.model, stop_sequences=[mark], **CLAUDE)
    same("the stop reason", answer.stop_reason, "stop_sequence")
    same("the stop sequence", answer.stop_sequence, mark)


@check
def anthropic_tool(b):
    """A forced tool is called, whole and streamed, and its result is accepted."""
    ask = {**CLAUDE, "model": b.model, "max_tokens": 200, "tools": [CLAUDE_TOOL]}
    choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    answer = b.anthropic.messages.create(**ask, tool_choice=choice)
    calls = [block for block in answer.content if block.type == "tool_use"]
    holds(calls, f"no call came, but {[block.type for block in answer.content]}")
    same("the stop reason", answer.stop_reason, "tool_use")
    weather(calls[0].input)
    with b.anthropic.messages.stream(**ask, tool_choice=choice) as stream:
        parts = "".join(event.delta.partial_json for event in stream if event.type == "content_block_delta" and event.delta.type == "input_json_delta")
        final = stream.get_final_message()
    weather(parts)
    weather([block for block in final.content if block.type == "tool_use"][0].input)
    turns = CLAUDE["messages"] + [{"role": "assistant", "content": [block.model_dump() for block in answer.content]},
                                  {"role": "user", "content": [{"type": "tool_result", "tool_use_id": calls[0].id, "content": "21 degrees"}]}]
    after = b.anthropic.messages.create(**{**ask, "messages": turns}, tool_choice={"type": "none"})
    holds(after.content and after.content[0].type == "text", "no answer came after the result")


@check
def anthropic_thinking(b):
    """A thought that was asked for comes before the text, and can be replayed with the next question."""
    ask = {**CLAUDE, "model": b.model, "max_tokens": LONGER, "extra_body": {"temperature": 0, "thinking": {"type": "enabled", "budget_tokens": 1024}}}
    answer = b.anthropic.messages.create(**ask)
    kinds = [block.type for block in answer.content]
    holds(kinds in (["text"], ["thinking", "text"], ["thinking"]), f"the kinds of blocks are {kinds}")
    turns = CLAUDE["messages"] + [{"role": "assistant", "content": [block.model_dump() for block in answer.content]}, {"role": "user", "content": "And of Italy?"}]
    holds(b.anthropic.messages.create(**{**ask, "messages": turns}).content, "nothing came after the replayed thought")
    with b.anthropic.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    same("the streamed blocks", [block.model_dump() for block in final.content], [block.model_dump() for block in answer.content])


@check
def anthropic_cancel(b):
    """A stream that is left in its middle stops at once."""
    with b.anthropic.messages.stream(**{**CLAUDE, "max_tokens": 600}, model=b.model) as stream:
        for _ in zip(range(4), stream):
            pass
    start = time.time()
    b.anthropic.messages.create(**{**CLAUDE, "max_tokens": 2}, model=b.model)
    holds(time.time() - start < 5, f"the next request took {time.time() - start:.1f} s")


@check
def anthropic_errors(b):
    """Errors arrive as the client's own classes, in Anthropic's words."""
    refused(anthropic.NotFoundError, None, lambda: b.anthropic.messages.create(model="no-such-model", **CLAUDE))
    long = {**CLAUDE, "messages": [{"role": "user", "content": b.too_long()}]}
    error = refused(anthropic.BadRequestError, None, lambda: b.anthropic.messages.create(model=b.model, **long))
    holds("prompt is too long" in str(error), f"the words are not Anthropic's: {error}")
    same("the shape of the error", (error.body["type"], error.body["error"]["type"]), ("error", "invalid_request_error"))
    refused(anthropic.BadRequestError, None, lambda: b.anthropic.messages.create(model=b.model, **{**CLAUDE, "max_tokens": -1}))


@check
def anthropic_other_path(b):
    """DeepSeek's path /anthropic with the same client, with a bearer's token in place of a key."""
    client = anthropic.Anthropic(base_url=b.url + "/anthropic", auth_token=b.key, api_key=None, max_retries=0, timeout=120)
    holds(text_of(client.messages.create(model=b.model, **CLAUDE)), "the text is empty")


@check
def anthropic_models(b):
    """Anthropic's list of models, if the server has one in that shape."""
    holds(b.model in [model.id for model in b.anthropic.models.list()], f"{b.model} is not listed")


# The langchain-openai package.


def chain(b, **settings):
    """LangChain's model, of the same server."""
    from langchain_openai import ChatOpenAI
    return ChatOpenAI(model=b.model, base_url=b.url + "/v1", api_key=b.key, max_retries=0, timeout=120, **{"max_tokens": SHORT, **GREEDY, **settings})


TURNS = [("system", HELLO[0]["content"]), ("human", HELLO[1]["content"])]


@check
def langchain_chat(b):
    """A conversation and a stream with its usage give the same text."""
    whole = chain(b).invoke(TURNS)
    same("the text", whole.content, b.ask().choices[0].message.content)
    holds(whole.usage_metadata["output_tokens"] > 0, "no tokens were counted")
    total = None
    for chunk in chain(b, stream_usage=True).stream(TURNS):
        total = chunk if total is None else total + chunk
    same("the streamed text", total.content, whole.content)
    holds(total.usage_metadata and total.usage_metadata["output_tokens"] > 0, "the stream has no usage")


@check
def langchain_responses(b):
    """LangChain over the responses API, whole and streamed."""
    model = chain(b, use_responses_api=True, seed=None)
    whole = model.invoke(TURNS)
    holds(whole.text, "the text is empty")
    total = None
    for chunk in model.stream(TURNS):
        total = chunk if total is None else total + chunk
    same("the streamed text", total.text, whole.text)


@check
def langchain_json_schema(b):
    """with_structured_output by a JSON schema."""
    found = chain(b, max_tokens=120).with_structured_output({"title": "person", **PERSON}, method="json_schema", strict=True).invoke(TURNS)
    person(json.dumps(found))


@check
def langchain_embeddings(b):
    """LangChain's embeddings send tokens by default; texts are asked for here, as for any other server than OpenAI's."""
    from langchain_openai import OpenAIEmbeddings
    vectors = OpenAIEmbeddings(model=b.model, base_url=b.url + "/v1", api_key=b.key, check_embedding_ctx_length=False).embed_documents(["A cat.", "A dog."])
    same("the number of vectors", len(vectors), 2)


@check
def langchain_tool(b):
    """bind_tools with a forced tool, whole and streamed."""
    model = chain(b, max_tokens=200).bind_tools([CHAT_TOOL], tool_choice="get_weather", parallel_tool_calls=False)
    calls = model.invoke(TURNS).tool_calls
    holds(calls, "no call came")
    weather(calls[0]["args"])
    total = None
    for chunk in model.stream(TURNS):
        total = chunk if total is None else total + chunk
    weather(total.tool_calls[0]["args"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, without /v1")
    parser.add_argument("--model", help="the model's name; by default the first of the list")
    parser.add_argument("--key", default="none", help="the API key")
    parser.add_argument("--only", default="", help="run the checks with this text in their names")
    parser.add_argument("--without", action="append", default=[], help="leave out the checks with this text in their names")
    parser.add_argument("--pending", action="append", default=[], help="checks with this text in their names do not count")
    parser.add_argument("--trace", action="store_true", help="show where a check failed")
    args = parser.parse_args()
    bench = Bench(args.url, args.model, args.key)
    table = []
    for function in CHECKS:
        name = function.__name__
        if args.only not in name or any(part in name for part in args.without):
            continue
        start = time.time()
        try:
            function(bench)
            found, why = "ok", ""
        except Exception as error:
            found = "pending" if any(part in name for part in args.pending) else "FAILED"
            why = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
            if isinstance(error, openai.APIResponseValidationError):  # Only its cause says what was wrong.
                why += f" {error.__cause__}"
            why = " ".join(why.split())[:400]
            if args.trace:
                traceback.print_exc()
        table.append((name, found, time.time() - start))
        print(f"{found} {name}" + (f": {why}" if why else ""), flush=True)
    print(f"\nopenai {openai.__version__}, anthropic {anthropic.__version__}, model {bench.model}")
    for name, found, seconds in table:
        print(f"{name:28} {found:8} {seconds:6.1f} s")
    failed = sum(found == "FAILED" for _, found, _ in table)
    print(f"{sum(found == 'ok' for _, found, _ in table)} of {len(table)} ok, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
