"""What `transformers` computes from a GGUF file: the ids of a prompt and the best next tokens, in f32.

    pip install torch transformers accelerate gguf
    python benches/gguf_vs_transformers.py FILE.gguf "What is the capital of Kenya?"
    python benches/gguf_vs_transformers.py FILE.gguf "What is the capital of Kenya?" --chat --new 24

The weights are dequantised to f32 first, so whatever computes in f32 from the same file should agree up to f32 rounding;
activations rounded to int8 move the logits visibly. Prints one JSON object. Not here: speed.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("prompt")
    parser.add_argument("--chat", action="store_true", help="render the prompt with the file's chat template")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--new", type=int, default=0, help="greedy tokens to add")
    args = parser.parse_args()

    source = dict(pretrained_model_name_or_path=str(args.file.parent), gguf_file=args.file.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32).eval()
    text = args.prompt
    if args.chat:
        text = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False,
                                             add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids).logits[0]
    best = logits[-1].topk(args.top)
    report = {"text": text, "ids": ids[0].tolist(),
              "top": [{"id": i, "token": tokenizer.decode([i]), "logit": round(x, 5)}
                      for i, x in zip(best.indices.tolist(), best.values.tolist())],
              # of every position, so that a difference can be placed
              "argmax": logits.argmax(-1).tolist()}
    if args.new:
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.new, do_sample=False)
        report["continuation"] = tokenizer.decode(out[0, ids.shape[1]:])
    print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
