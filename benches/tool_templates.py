"""Chat templates that others published, and the calls of tools in them: rendered by Jinja2 and by Picnic, and read back.

    pip download --no-deps --no-binary :all: llama-cpp-python     # has vendor/llama.cpp/models/templates/*.jinja
    pip install jinja2
    cargo build --release -p picnic-chat --example calls
    python benches/tool_templates.py FOLDER_OF_TEMPLATES… [--tokenizer NAME=FOLDER] [--only TEXT] [--verbose]

For every template that knows tools, conversations with calls, results, thinking and several tools are rendered by Jinja2,
set up as `transformers` sets it up, and by Picnic, character by character. Then the assistant's turn is cut out of what
Jinja2 wrote and given to Picnic as what a model says: the calls in it have to come out with their names and arguments, with
marks that are text and with marks that are tokens, and an answer that is held to calls has to be able to say it.
`--tokenizer qwen3=FOLDER` does the same with that folder's vocabulary and, where the folder has one, its template.

Prints a line for each template: conversations that render alike, the form that was found, turns that are read back, turns
that an answer held to calls may say, and what random answers under that form came to. `words` is the number of conversations
that Picnic's prompt says otherwise than the template, because the template does not know some of it.
"""

import argparse
import datetime
import itertools
import json
import re
import subprocess
from pathlib import Path

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

HELPER = Path(__file__).resolve().parent.parent / "target/release/examples/calls"
NOW = datetime.datetime(2024, 10, 4)

# Tokens of roles and turns, which are tokens in every vocabulary; marks of calls are tokens in some.
TOKENS = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|\[/?[A-Z_]{3,20}\]|</?s>|<end_of_turn>|<start_of_turn>")
CALL_MARKS = re.compile(r"</?tool_call>|\[(TOOL_CALLS|ARGS|CALL_ID)\]|<｜tool[^｜]*｜>|<\|python_tag\|>")
ENDS = ["<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "<|return|>", "<end_of_turn>", "<|END_OF_TURN_TOKEN|>",
        "<sep>"]


class Generation(Extension):
    """`{% generation %}` of `transformers`, for whoever does not ask what it marks."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True)).set_lineno(line)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, "jinja2.ext.loopcontrols"])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=NOW.strftime)
    return env


def function(name, description, parameters):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    function("get_weather", "What the weather is like at a place, <now> & later.", {
        "type": "object", "required": ["place"],
        "properties": {"place": {"type": "string", "description": "A town, such as Ålesund"},
                       "days": {"type": "integer", "description": "How many", "minimum": 1},
                       "unit": {"type": "string", "enum": ["C", "F"]}}}),
    function("stop_now", "Stops.", {"type": "object", "properties": {}}),
    function("book", "Books a trip.", {
        "type": "object", "required": ["guests", "trip"],
        "properties": {"guests": {"type": "array", "items": {"type": "string"}, "description": "Their names"},
                       "trip": {"type": "object", "description": "From and to", "required": ["from"],
                                "properties": {"from": {"type": "string"}, "to": {"type": ["string", "null"]},
                                               "price": {"type": "number"}}},
                       "late": {"type": "boolean"}, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}),
]

WEATHER = ("get_weather", {"place": "Ålesund \"<b>\"", "days": 3})
STOP = ("stop_now", {})
BOOK = ("book", {"guests": ["Zoë", "李"], "trip": {"from": "A\nB", "to": None, "price": 1.5}, "late": True, "note": None})


def conversations():
    """Name, messages ahead of the assistant's turn, that turn, messages after it, and what the turn says."""
    system = {"role": "system", "content": "Be brief."}
    user = {"role": "user", "content": "What is it like in Ålesund?"}

    def case(name, before, calls, content=None, thinking=None, after=(), results=True):
        turn = {"role": "assistant", "content": content, "calls": calls}
        if thinking:
            turn["reasoning_content"] = thinking
        answers = [{"role": "tool", "tool_call_id": f"abcdefgh{i}", "name": calls[i][0], "content": f"result {i}: ✓"}
                   for i in range(len(calls) if results else 0)]
        return name, list(before), turn, answers + list(after)

    yield case("one call", [system, user], [WEATHER])
    yield case("beside text", [user], [WEATHER], content="I look.")
    yield case("no arguments", [user], [STOP])
    yield case("nested", [system, user], [BOOK])
    yield case("two calls", [user], [WEATHER, BOOK])
    yield case("after thinking", [user], [WEATHER], thinking="Where is that?")
    yield case("and an answer", [system, user], [WEATHER], after=[
        {"role": "assistant", "content": "Rain."}, {"role": "user", "content": "And you?"}])
    yield case("last", [user], [BOOK], results=False)


def styled(turn, style):
    """An assistant's turn with its calls as one of the ways that servers have of showing them to a template."""
    as_text, content = style
    turn = dict(turn)
    calls = turn.pop("calls", None)
    if calls is None:
        return turn
    if turn["content"] is None:
        if content == "absent":
            del turn["content"]
        else:
            turn["content"] = content
    if "reasoning_content" in turn:
        turn["thinking"] = turn["reasoning_content"]
    turn["tool_calls"] = [
        {"id": f"abcdefgh{i}", "type": "function",
         "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False) if as_text else arguments}}
        for i, (name, arguments) in enumerate(calls)]
    return turn


STYLES = list(itertools.product([False, True], ["absent", None, ""]))


class Helper:
    def __init__(self):
        self.process = subprocess.Popen([HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **case):
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the helper is gone; its last case was {json.dumps(case, ensure_ascii=False)[:2000]}")
        return json.loads(line)


class Template:
    """A template and what it is rendered with."""

    def __init__(self, name, source, special):
        self.name, self.source, self.special = name, source, special
        self.template = environment().from_string(source)

    def render(self, messages, prompt, style):
        messages = [styled(message, style) for message in messages]
        try:
            return self.template.render(messages=messages, tools=TOOLS, add_generation_prompt=prompt, **self.special)
        except Exception as error:
            return error

    def turn(self, before, turn, style):
        """The prompt for an assistant's turn and what it says, as this template writes a turn that is over."""
        prompt, whole = self.render(before, True, style), self.render([*before, turn], False, style)
        if not isinstance(prompt, str) or not isinstance(whole, str):
            return None
        length = next((i for i, (a, b) in enumerate(zip(prompt, whole)) if a != b), min(len(prompt), len(whole)))
        # Not within a mark: `<think>` and `<tool_call>` begin alike.
        mark = max(whole.rfind(sign, 0, length) for sign in "<[")
        if mark >= 0 and not re.search(r"[>\]\s]", whole[mark:length]):
            length = mark
        # Some templates show the tools beside the last question only.
        again = whole.rfind(prompt[-8:])
        if again > length:
            length = again + 8
        said = whole[length:]
        return (whole[:length], said) if all(name in said for name, _ in turn["calls"]) else None

    def style(self):
        """The first way of showing calls with which they come out, as one would choose it by looking."""
        for style in STYLES:
            turns = [self.turn(before, turn, style) for name, before, turn, _ in conversations()
                     if name in ("one call", "nested")]
            if all(turns) and re.search(r"(Å|\\u00c5)lesund", turns[0][1]) and re.search(r"Zo(ë|\\u00eb)", turns[1][1]):
                said = turns[1][1]
                # Neither Python's way of writing an object nor JSON in a string of JSON.
                if "'guests'" not in said and '\\"guests' not in said:
                    return style
        return None


def same(calls, expected):
    try:
        return [(call["name"], json.loads(call["arguments"])) for call in calls] == [(n, dict(a)) for n, a in expected]
    except ValueError:
        return False


def check(helper, template, vocabularies, verbose):
    """What stands in the table."""
    style = template.style()
    row = {"alike": 0, "of": 0, "words": 0, "read": 0, "held": 0, "turns": 0, "holds": 0, "refused": 0, "drawn": "", "form": ""}

    def tell(*what):
        if verbose:
            print("   ", *what)

    if style is None:
        tell("calls do not come out of it")
    for (what, before, turn, after), (label, vocabulary) in itertools.product(conversations(), vocabularies):
        shown = [*before, turn, *after]
        whole = template.render(shown, True, style or STYLES[0])
        sent = [styled(message, (True, None)) for message in shown]
        ours = helper.ask(**vocabulary, template=template.source, messages=sent, tools=TOOLS, add_generation_prompt=True)
        row["form"], row["notes"] = ours["form"], ours["notes"]
        row["of"] += 1
        if isinstance(whole, str) == ("text" in ours["rendered"]) and ours["rendered"].get("text") == (
                whole if isinstance(whole, str) else None):
            row["alike"] += 1
            row["refused"] += not isinstance(whole, str)
        else:
            tell(what, label, "\n      theirs", repr(whole), "\n      ours  ", ours["rendered"])
        row["words"] += isinstance(whole, str) and ours["adapted"].get("text") != whole
        # The assistant's turn as the template writes it is what a model says.
        parts = style and template.turn(before, turn, style)
        if not parts:
            tell(what, "does not come out of it") if style else None
            continue
        prompt, said = parts
        choice = ["required", turn["calls"][0][0]][row["turns"] % 2] if len(turn["calls"]) == 1 else "required"
        holds = turn["content"] is None
        asked = {"choice": choice, "parallel": len(turn["calls"]) > 1, "draws": 3} if holds else {}
        answer = helper.ask(**vocabulary, template=template.source, tools=TOOLS, prompt=prompt, said=said, **asked)
        row["turns"] += 1
        read = answer["read"]
        # Some templates leave out what is said beside a call.
        content, thinking = turn["content"] or "", turn.get("reasoning_content", "")
        in_turn = said.split(template.special["eos_token"])[0]
        expected = (content if content in in_turn else "", thinking if thinking in in_turn else "")
        is_read = same(read["calls"], turn["calls"]) and expected == (read["content"].strip(), read["reasoning"].strip())
        row["read"] += is_read
        if not is_read:
            tell(what, label, "\n      said", repr(said), "\n      read", read)
        if holds:
            row["holds"] += 1
            is_held = answer["held"] == "yes" and same(answer["read_held"]["calls"], turn["calls"])
            row["held"] += is_held
            if not is_held:
                tell(what, label, "\n      said", repr(said), "\n      held", answer["held"], answer.get("read_held"))
            if " calls in " not in answer.get("drawn", ""):
                row["drawn"] = answer.get("drawn", answer["held"])
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--tokenizer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--only", default="", help="templates with this in their names")
    parser.add_argument("--verbose", action="store_true", help="print what is not as it should be")
    args = parser.parse_args()
    helper = Helper()
    jobs = []
    for folder in args.folders:
        for path in sorted(folder.rglob("*.jinja")):
            source = path.read_text()
            if "tool" not in source:
                continue
            end = next((end for end in ENDS if end in source), "</s>")
            special = {"bos_token": "<s>", "eos_token": end}
            tokens = sorted(set(TOKENS.findall(source)) | set(special.values()))
            marks = sorted(set(match.group() for match in CALL_MARKS.finditer(source)))
            names = {"bos": special["bos_token"], "eos": special["eos_token"]}
            as_text = {**names, "special": [token for token in tokens if token not in marks]}
            as_tokens = {**names, "special": sorted({*tokens, *marks})}
            jobs.append((path.stem, source, special, [("text", as_text), ("tokens", as_tokens)]))
    for named in args.tokenizer:
        name, folder = named.split("=", 1)
        config = json.loads((Path(folder) / "tokenizer_config.json").read_text())
        source = config.get("chat_template")
        if (Path(folder) / "chat_template.jinja").exists():
            source = (Path(folder) / "chat_template.jinja").read_text()
        if not isinstance(source, str):
            print(f"{name}: no template")
            continue
        special = helper.ask(folder=folder, template=source)["special"]
        jobs.append((name, source, special, [("folder", {"folder": str(Path(folder).resolve())})]))
    print(f"{'template':46} {'alike':>7} {'words':>5}  {'form':12} {'read':>6} {'held':>6}  random answers")
    for name, source, special, vocabularies in jobs:
        if args.only.lower() not in name.lower():
            continue
        try:
            template = Template(name, source, special)
        except Exception as error:
            print(f"{name:46} Jinja2 does not compile it: {error}")
            continue
        row = check(helper, template, vocabularies, args.verbose)
        notes = "".join(f"  [{note}]" for note in row.get("notes", []))
        print(f"{name[:46]:46} {row['alike']:>3}/{row['of']:<3} {row['words']:>5}  {row['form']:12} "
              f"{row['read']:>2}/{row['turns']:<3} {row['held']:>2}/{row['holds']:<3}  "
              f"{row['drawn'][:300] or 'are read'}{notes}", flush=True)


if __name__ == "__main__":
    main()
