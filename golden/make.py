"""Makes every fixture of this folder: tiny random checkpoints with what `transformers` computes from them.

    python golden/make.py            # all of it, about a minute on one core
    python golden/make.py llama      # one checkpoint

The shapes are small and uneven on purpose: no two dimensions of a layer agree, so a transposed matrix or a
swapped stride cannot hide. Norms, biases and the router's bias are moved off their initial values for the same
reason. Not here: real weights, tokenizers, and anything that needs a download. README.md says what each file holds.
"""

import copy
import itertools
import json
import math
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

import losses
import mtp
import muon

HERE = Path(__file__).parent
BASE = dict(vocab_size=61, hidden_size=28, bos_token_id=0, eos_token_id=1, max_position_embeddings=128)
MLA = dict(num_attention_heads=3, num_key_value_heads=3, q_lora_rank=10, kv_lora_rank=6,
           qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5)
# Three groups of three: the group score (sum of the two best) differs from both the maximum and the total.
MOE = dict(num_hidden_layers=2, first_k_dense_replace=1, intermediate_size=20, moe_intermediate_size=3,
           n_routed_experts=9, n_shared_experts=2, num_experts_per_tok=3, n_group=3, topk_group=2,
           routed_scaling_factor=1.7, norm_topk_prob=True)
# mscale and mscale_all_dim differ here (DeepSeek's files have them equal), so that each shows on its own.
# With 4 frequencies the ramp gives one kept, one blended and two interpolated.
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=8, beta_slow=1, mscale=1.0,
            mscale_all_dim=0.7, original_max_position_embeddings=64)

LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=8.0,
              original_max_position_embeddings=64)


def rope(theta):
    return dict(rope_type="default", rope_theta=theta)


SPECS = {
    "deepseek_v3": ("DeepseekV3", BASE | MLA | MOE),
    "deepseek_v3_yarn": ("DeepseekV3", BASE | MLA | MOE | dict(
        qk_rope_head_dim=8, rope_parameters=YARN, max_position_embeddings=256)),
    "deepseek_v3_nolora": ("DeepseekV3", BASE | MLA | MOE | dict(
        q_lora_rank=None, n_routed_experts=4, n_group=1, topk_group=1, n_shared_experts=1,
        num_experts_per_tok=2, moe_intermediate_size=5, norm_topk_prob=False, routed_scaling_factor=1.0)),
    "deepseek_v2": ("DeepseekV2", BASE | MLA | MOE | dict(
        hidden_size=36, topk_method="group_limited_greedy", norm_topk_prob=False)),
    "deepseek_v2_nolora": ("DeepseekV2", BASE | MLA | MOE | dict(
        hidden_size=36, q_lora_rank=None, n_routed_experts=4, n_group=1, topk_group=1, n_shared_experts=1,
        num_experts_per_tok=2, moe_intermediate_size=5, topk_method="greedy", norm_topk_prob=False,
        routed_scaling_factor=1.0)),
    "llama": ("Llama", BASE | dict(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6, intermediate_size=25,
        rope_parameters=rope(100000.0), rms_norm_eps=1e-5)),
    "qwen2": ("Qwen2", BASE | dict(
        hidden_size=36, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, intermediate_size=21,
        rope_parameters=rope(1000000.0), tie_word_embeddings=True)),
    "qwen3": ("Qwen3", BASE | dict(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=10, intermediate_size=19,
        rope_parameters=rope(1000000.0))),
    # Of 5 frequencies one is kept, one lies on the passage and three are divided.
    "llama31": ("Llama", BASE | dict(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=10, intermediate_size=25,
        tie_word_embeddings=True, mlp_bias=True, rope_parameters=LLAMA3)),
    # The short rows stay within its 16 positions; the long one and the greedy tokens go beyond.
    "llama_dynamic": ("Llama", BASE | dict(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=10, intermediate_size=21,
        max_position_embeddings=16, rope_parameters=rope(10000.0) | dict(rope_type="dynamic", factor=4.0))),
    # The second of three layers is dense.
    "qwen3_moe": ("Qwen3Moe", BASE | dict(
        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=10, intermediate_size=19,
        moe_intermediate_size=5, num_experts=7, num_experts_per_tok=3, norm_topk_prob=True, mlp_only_layers=[1],
        rope_parameters=rope(1000000.0))),
}
# Weights in 8 bits with a factor for each block of weights, which are uneven at both ends.
FP8 = {"deepseek_v3_fp8": ("deepseek_v3_nolora", 8)}
WITH_CURVE = ("deepseek_v3", "llama")
# As published: `rope_theta` and `rope_scaling {type}` instead of the newer `rope_parameters`.
LEGACY_CONFIG = ("deepseek_v3_yarn", "qwen2")

SHORT, LONG, PROMPT, NEW_TOKENS = (2, 12), (1, 48), 10, 24
MIN_GAP = 2e-3  # between the two best logits of every greedy step: 100 times the tolerance
MIN_MARGIN = 2e-4  # between the last chosen and the first rejected expert or group
CURVE = dict(lr=1e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1, clip=1.0, steps=30)


def main(names):
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for name in names or SPECS:
        if name in SPECS:
            checkpoint(name)
    for name in names or FP8:
        if name in FP8:
            fp8(name, *FP8[name])
    if not names:
        losses.write(HERE)
    if not names or names == ["muon"]:
        muon.write(HERE)
    if not names or names == ["mtp"]:
        mtp.write(folder_of(HERE / "mtp"), lambda seed: build("deepseek_v3", seed), stir, margin)


def checkpoint(name):
    """Writes one folder, with the first seed whose discrete choices all stand clear of rounding."""
    folder = HERE / name
    for seed in itertools.count():
        model, ids, ids_long = build(name, seed)
        greedy = model.generate(ids[:1, :PROMPT], attention_mask=torch.ones(1, PROMPT), max_new_tokens=NEW_TOKENS,
                                do_sample=False, eos_token_id=None, pad_token_id=0)
        gap, margin = clearances(model, ids, ids_long, greedy)
        if gap < MIN_GAP or margin < MIN_MARGIN:
            continue
        batches = text_batches(seed, model.config.vocab_size) if name in WITH_CURVE else None
        if batches is None:
            break
        curve = train(copy.deepcopy(model), batches)
        other = train(nudged(model), batches)
        sway = max(abs(a - b) for a, b in zip(curve["losses"], other["losses"]))
        sums = max(abs(a - other["param_sums"][key]) for key, a in curve["param_sums"].items())
        if sway < 2e-5:  # else a router's choice sits on a knife's edge somewhere along the way
            print(f"  {name}: weights moved by 3e-6 move the losses by {sway:.1e}, the sums by {sums:.1e}")
            save_file({"batches": batches}, folder_of(folder) / "train_batches.safetensors")
            (folder / "train_curve.json").write_text(json.dumps(curve, indent=1) + "\n")
            break

    out, grads = evaluate(model, ids, ids_long)
    noise = rounding(model, ids, ids_long, out, grads)
    model.save_pretrained(folder_of(folder))
    (folder / "generation_config.json").unlink()
    if name in LEGACY_CONFIG:
        legacy_config(folder / "config.json")
    again = type(model).from_pretrained(folder, attn_implementation="eager", experts_implementation="eager")
    assert torch.equal(again(ids).logits, out["logits"]), f"{name}: the saved folder is another model"
    save_file(out | {"greedy": greedy.contiguous()}, folder / "golden.safetensors")
    save_file(grads, folder / "golden_grads.safetensors")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: seed {seed}, loss {out['loss'].item():.4f}, logits std {out['logits'].std():.2f}, gap {gap:.1e}, "
          f"margin {margin:.1e}, f32 against f64: logits {noise[0]:.1e}, gradients {noise[1]:.1e}, {size // 1000} kB")


def fp8(name, spec, block):
    """Writes a folder as DeepSeek publishes its weights: E4M3 with `weight_scale_inv`, and what the decoded ones give."""
    folder = folder_of(HERE / name)
    for seed in itertools.count():
        model, ids, _ = build(spec, seed)
        weights = {}
        with torch.no_grad():
            for key, p in model.state_dict().items():
                if p.dim() == 2 and "embed" not in key and "lm_head" not in key and not key.endswith("gate.weight"):
                    weights[key], weights[f"{key}_scale_inv"] = blocks_of_8_bits(p, block)
                    p.copy_(decoded(weights[key], weights[f"{key}_scale_inv"], block))
                elif p.dim() == 3:  # transformers keeps a layer's experts in one tensor, DeepSeek's files each by itself
                    for expert, stacked in enumerate(p):
                        at, parts = key.rsplit(".", 1)[0], [stacked]
                        names = ["down_proj"]
                        if key.endswith("gate_up_proj"):
                            parts, names = stacked.chunk(2), ["gate_proj", "up_proj"]
                        for part, w in zip(names, parts):
                            here = f"{at}.{expert}.{part}.weight"
                            weights[here], weights[f"{here}_scale_inv"] = blocks_of_8_bits(w, block)
                            w.copy_(decoded(weights[here], weights[f"{here}_scale_inv"], block))
                else:
                    weights[key] = p.clone()
        if margin(model, lambda: model(ids)) >= MIN_MARGIN:
            break
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                     "weight_block_size": [block, block]}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "generation_config.json").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits
    save_file({"input_ids": ids, "logits": logits.contiguous()}, folder / "golden.safetensors")
    print(f"{name}: seed {seed}, {len(weights)} tensors, logits std {logits.std():.2f}")


def blocks_of_8_bits(w, block):
    """E4M3 of `w` over the factor of its block, and the factors: the largest entry of each block becomes 448."""
    n, k = w.shape
    padded = torch.nn.functional.pad(w, (0, -k % block, 0, -n % block))
    tiles = padded.unflatten(0, (-1, block)).unflatten(2, (-1, block))
    scales = tiles.abs().amax((1, 3)) / 448
    codes = (tiles / scales[:, None, :, None]).flatten(2).flatten(0, 1)[:n, :k]
    return codes.contiguous().to(torch.float8_e4m3fn), scales.contiguous()


def decoded(codes, scales, block):
    n, k = codes.shape
    spread = scales.repeat_interleave(block, 0).repeat_interleave(block, 1)[:n, :k]
    return codes.float() * spread


def build(name, seed):
    """A model whose every parameter is non-trivial, and its inputs."""
    family, config = SPECS[name]
    torch.manual_seed(1000 + seed)
    config = getattr(transformers, f"{family}Config")(**config)
    config._attn_implementation = config._experts_implementation = "eager"  # the plainest code of each
    model = getattr(transformers, f"{family}ForCausalLM")(config).float().eval()
    stir(model, config)
    return model, torch.randint(2, config.vocab_size, SHORT), torch.randint(2, config.vocab_size, LONG)


@torch.no_grad()
def stir(model, config):
    """Moves every parameter and the router's biases off what they start with."""
    for key, p in model.named_parameters():
        noise = torch.randn(p.shape)
        if p.dim() == 1:
            p.add_(noise, alpha=0.1)
        else:  # layers that speak about as loudly as the residual stream, so that none is drowned
            loud = "embed" in key and not config.tie_word_embeddings
            p.copy_(noise * (0.5 if loud else 1 / math.sqrt(p.shape[-1])))
    for key, b in model.named_buffers():
        if key.endswith("e_score_correction_bias"):
            b.copy_(torch.randn(b.shape) * 0.2)


@torch.no_grad()
def clearances(model, ids, ids_long, greedy):
    """The smallest gap between the best two greedy logits, and between experts (groups) kept and dropped."""
    narrowest = margin(model, lambda: (model(ids), model(ids_long)))
    best = model(greedy).logits[0, PROMPT - 1:-1].topk(2)[0]
    return (best[:, 0] - best[:, 1]).min().item(), narrowest


def margin(model, run):
    """The smallest distance between an expert (group) kept and one dropped in any gate of `model` during `run`."""
    margins = [math.inf]

    def watch(gate, inputs, _):
        logits = inputs[0].reshape(-1, gate.hidden_dim) @ gate.weight.T
        biased = hasattr(gate, "e_score_correction_bias")  # V3; V2 has a softmax, and the best of a group for its score
        scores = torch.sigmoid(logits) + gate.e_score_correction_bias if biased else logits.softmax(-1)
        in_all, in_kept = getattr(gate, "num_group", 1), getattr(gate, "topk_group", 1)  # Qwen3 has no groups
        groups = scores.view(len(scores), in_all, -1)
        group_scores = groups.topk(2, dim=-1)[0].sum(-1) if biased else groups.amax(-1)
        if in_kept < in_all:
            best = group_scores.sort(descending=True)[0]
            margins.append((best[:, in_kept - 1] - best[:, in_kept]).min().item())
        kept = torch.zeros_like(group_scores).scatter_(1, group_scores.topk(in_kept)[1], 1).bool()
        best = groups.masked_fill(~kept[..., None], -math.inf).flatten(1).sort(descending=True)[0]
        margins.append((best[:, gate.top_k - 1] - best[:, gate.top_k]).min().item())

    hooks = [m.register_forward_hook(watch) for m in model.modules() if type(m).__name__.lower().endswith("topkrouter")]
    run()
    for hook in hooks:
        hook.remove()
    return min(margins)


def evaluate(model, ids, ids_long):
    with torch.no_grad():
        short = model(ids, output_hidden_states=True, use_cache=False)
        long = model(ids_long, use_cache=False)
    assert torch.allclose(model.lm_head(short.hidden_states[-1]), short.logits)  # the last one is after the norm
    model.zero_grad()
    loss = model(ids, labels=ids, use_cache=False).loss
    loss.backward()
    grads = {key: p.grad.clone().contiguous() for key, p in model.named_parameters()}
    out = {"input_ids": ids, "logits": short.logits.contiguous(), "input_ids_long": ids_long,
           "logits_long": long.logits.contiguous(), "loss": loss.detach().reshape(1)}
    return out | {f"hidden.{i}": h.contiguous() for i, h in enumerate(short.hidden_states)}, grads


def rounding(model, ids, ids_long, out, grads):
    """How far f32 is from f64: largest logit difference, and gradient difference over the tensor's largest entry.

    The f64 run still takes rope tables and router scores from f32, as the library has them.
    """
    exact = copy.deepcopy(model).double()
    exact.set_attn_implementation("sdpa")  # its softmax stays in f64, the eager one goes down to f32
    for module in exact.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = lambda x, m=module: m.weight * x * torch.rsqrt(
                x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon)
    ref, ref_grads = evaluate(exact, ids, ids_long)
    logits = max((out[k] - ref[k]).abs().max().item() for k in ("logits", "logits_long"))
    return logits, max(((g - ref_grads[k]).abs().max() / ref_grads[k].abs().max()).item() for k, g in grads.items())


def text_batches(seed, vocab_size):
    """30 batches of 4 × 16 bytes (mod the vocabulary) of sums written out, as int64."""
    rng = torch.Generator().manual_seed(seed)
    text = "".join(f"{a} plus {b} makes {a + b}. " for a, b in torch.randint(0, 60, (200, 2), generator=rng).tolist())
    n = CURVE["steps"] * 4 * 16
    return torch.tensor([byte % vocab_size for byte in text.encode()[:n]]).reshape(CURVE["steps"], 4, 16)


def train(model, batches):
    """AdamW over `batches`; the router's bias is a buffer and stays, there is no auxiliary loss."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=CURVE["lr"], betas=CURVE["betas"], eps=CURVE["eps"],
                                  weight_decay=CURVE["weight_decay"])
    curve, norms = [], []
    for batch in batches:
        optimizer.zero_grad()
        loss = model(batch, labels=batch, use_cache=False).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CURVE["clip"]).item())
        optimizer.step()
        curve.append(loss.item())
    sums = {key: p.double().sum().item() for key, p in model.named_parameters()}
    return CURVE | {"losses": curve, "grad_norms": norms, "param_sums": sums}


def nudged(model):
    model = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=3e-6)
    return model


def legacy_config(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind} | rope
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def folder_of(path):
    path.mkdir(exist_ok=True)
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
