"""Makes golden/pieces/: tiny models trained with the `sentencepiece` package, and the ids that it gives texts.

    pip install sentencepiece && python golden/pieces.py

Each model stands for a kind in use. `llama` and `gemma` are BPE over bytes, one with a space before the text and one
without; `symbols` is BPE that normalises and knows user-defined symbols but no bytes; `unigram` is T5's kind. The last
two normalise by a table of a few characters instead of NFKC, whose compiled table takes 240 KB. Texts that spell out a
control symbol are left out: SentencePiece takes them for letters, everyone else for the token.
"""

import io
import json
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

HERE = Path(__file__).parent / "pieces"

CORPUS = """
One small step at a time, the reader follows the proof: 12 + 30 = 42, and 42 - 30 = 12.
Die Größe der Straße, çà et là; naïve façade, déjà vu. Привет, мир! Γειά σου κόσμε.
def area(width, height):    return width * height  # 3 x 4 = 12
  if (width == height):     print("a square of", width)
世界は広い。数学は楽しい。
The quick reader reads quickly; the slow reader reads slowly, twice, and twice again.
<b>bold</b> and <b>bolder</b>, 1234567890, 3.14159, 2.71828.
""".strip().split("\n") * 6

# What becomes what, as in NFKC: a ligature, a circled digit, wide letters, two kinds of space.
TABLE = {"ﬁ": "fi", "①": "1", "Ｆ": "F", "Ｕ": "U", "Ｌ": "L", "\u00a0": " ", "\u3000": " ", "\u200b": " "}

MODELS = {
    "llama": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                  remove_extra_whitespaces=False, split_digits=True),
    "gemma": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                  remove_extra_whitespaces=False, add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                  control_symbols=["<turn>"], user_defined_symbols=["\n\n", "▁▁", "▁▁▁▁", "<b>", "</b>", "<b"]),
    "symbols": dict(model_type="bpe", vocab_size=200, table=True,
                    user_defined_symbols=["<sep>", "a.b*"]),
    "unigram": dict(model_type="unigram", vocab_size=160, table=True),
}

TEXTS = [
    "", " ", "   ", "the thing", " the thing", "the  thing ", "a\nb\n\nc", "\ta", "12 + 30 = 42", "1234567890",
    "Größe Straße déjà vu", "Привет, мир", "世界は広い", "数学 한국어 ไทย", "🤖 👩‍👧", "é e\u0301", "ﬁ ① ½ ＦＵＬＬ",
    "\u00a0x\u3000y", "<b>bold</b>", "a<b>b</b>c <b", "x<sep>y", " <sep> ", "a.b* axb*", "        eight spaces",
    "def f(x):\n    return x * x", "▁ ▁▁a", "\u200b\ufeff", "reader, reader; reader!", "Q", "zzzzqqqq",
]


def rules(file):
    """Writes TABLE in SentencePiece's form: code points in hexadecimal, a tab between what and by what."""
    code_points = lambda text: " ".join(f"{ord(char):X}" for char in text)
    file.write("".join(f"{code_points(a)}\t{code_points(b)}\n" for a, b in TABLE.items()))
    file.flush()
    return file.name


def train(options):
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        if options.pop("table", False):
            options["normalization_rule_tsv"] = rules(file)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS), model_writer=model, num_threads=1, minloglevel=2,
            hard_vocab_limit=False, character_coverage=0.98, **options)
    # The name of the temporary file would make each run's bytes differ.
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString()


def main():
    HERE.mkdir(exist_ok=True)
    for name, options in MODELS.items():
        model = train(dict(options))
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.model").write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        with open(folder / "expected.jsonl", "w", encoding="utf-8") as out:
            for text in TEXTS:
                ids = processor.encode(text)
                case = dict(text=text, ids=ids, decoded=processor.decode(ids))
                out.write(json.dumps(case, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
