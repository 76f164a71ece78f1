"""OpenAI's Python client against the server that answers each message with itself. Argument: the base URL."""

import sys

from openai import NotFoundError, OpenAI, UnprocessableEntityError

client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
assert [model.id for model in client.models.list()] == ["echo"]

MESSAGES = [{"role": "user", "content": "<think>1 + 1</think><answer>2</answer>"}]
whole = client.chat.completions.create(model="echo", messages=MESSAGES, temperature=0.6, seed=1, stop=["zzz"])
message = whole.choices[0].message
assert (message.reasoning_content, message.content) == ("1 + 1", "2"), message
assert whole.choices[0].finish_reason == "stop"
assert whole.usage.completion_tokens_details.reasoning_tokens == 7, whole.usage

reasoning, content, usage, finish = "", "", None, None
options = {"include_usage": True}
for chunk in client.chat.completions.create(model="echo", messages=MESSAGES, stream=True, stream_options=options):
    usage = chunk.usage or usage
    for choice in chunk.choices:
        reasoning += getattr(choice.delta, "reasoning_content", None) or ""
        content += choice.delta.content or ""
        finish = choice.finish_reason or finish
assert (reasoning, content, finish) == ("1 + 1", "2", "stop"), (reasoning, content, finish)
assert usage == whole.usage, usage

for error, wrong in [(UnprocessableEntityError, {"n": 0}), (NotFoundError, {"model": "other"})]:
    try:
        client.chat.completions.create(**{"model": "echo", "messages": MESSAGES, **wrong})
    except error as refused:
        assert refused.body["message"], refused
    else:
        raise AssertionError(f"{wrong} was accepted")
