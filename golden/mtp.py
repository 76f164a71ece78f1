"""The fixture of multi-token prediction, which no library computes: DeepSeek-V3 §2.2 written out in torch.

Norms, projection, shift and loss are by hand; the transformer block is `transformers`' own, its experts stored in one
tensor for all, which are taken apart here as upstream's files have them. Called by make.py; README.md says what the
files hold.
"""

import copy
import itertools
import json

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer, DeepseekV3RMSNorm

WEIGHT = 0.3
MIN_MARGIN = 2e-4  # between the last chosen and the first rejected expert or group
# How a reader may go wrong; each must move some logit by 500 times the tolerance.
MISTAKES = ("hidden first", "before the norm", "own embedding", "next hidden", "no last norm")


class Prediction(nn.Module):
    """The module of depth 1: h' = M·[RMSNorm(Emb(next)); RMSNorm(h)], a block, a norm. M's columns as published."""

    def __init__(self, config):
        super().__init__()
        d, eps = config.hidden_size, config.rms_norm_eps
        self.enorm, self.hnorm = DeepseekV3RMSNorm(d, eps), DeepseekV3RMSNorm(d, eps)
        self.eh_proj = nn.Linear(2 * d, d, bias=False)
        self.block = DeepseekV3DecoderLayer(config, config.num_hidden_layers)
        self.norm = DeepseekV3RMSNorm(d, eps)

    def forward(self, main, ids, mistake=None):
        """Logits [B, T − 2, V]: row t has seen the tokens to t + 1 and predicts token t + 2."""
        before = []
        hook = main.model.norm.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
        after = main.model(ids, use_cache=False).last_hidden_state
        hook.remove()
        h = (before[0] if mistake == "before the norm" else after)
        h = h[:, 1:-1] if mistake == "next hidden" else h[:, :-2]
        following = main.model.embed_tokens(ids[:, :-2] if mistake == "own embedding" else ids[:, 1:-1])
        parts = [self.enorm(following), self.hnorm(h)]
        x = self.eh_proj(torch.cat(parts[::-1] if mistake == "hidden first" else parts, dim=-1))
        n = x.shape[1]
        mask = torch.full((n, n), -torch.inf, dtype=x.dtype).triu(1)[None, None]
        positions = main.model.rotary_emb(x, torch.arange(n)[None])
        x = self.block(x, attention_mask=mask, position_embeddings=positions)
        return main.lm_head(x if mistake == "no last norm" else self.norm(x))


def write(folder, build, stir, margin):
    """`build(seed)` gives the main model and its ids, `stir` moves parameters, `margin` watches the gates."""
    for seed in itertools.count():
        main, ids, _ = build(seed)
        module = Prediction(main.config).float().eval()
        stir(module, main.config)
        with torch.no_grad():
            clear = margin(nn.ModuleList([main, module]), lambda: module(main, ids))
        out, grads = evaluate(main, module, ids)
        if clear >= MIN_MARGIN and all(g.any() for g in grads.values()):  # no expert is left out
            break

    with torch.no_grad():
        right = module(main, ids)
        moved = {mistake: (module(main, ids, mistake) - right).abs().max().item() for mistake in MISTAKES}
    assert min(moved.values()) > 1e-2, moved
    noise = rounding(main, module, ids, out, grads)

    main.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    weights = load_file(folder / "model.safetensors")
    state = module.state_dict() | {"embed": main.model.embed_tokens.weight, "head": main.lm_head.weight}
    weights |= upstream(main.config, state)
    save_file({key: value.contiguous().clone() for key, value in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    assert json.loads((folder / "config.json").read_text())["num_nextn_predict_layers"] == 1
    save_file(out, folder / "golden.safetensors")
    save_file(grads, folder / "golden_grads.safetensors")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"mtp: seed {seed}, losses {out['loss'].item():.4f} and {out['mtp_loss'].item():.4f}, f32 against f64: logits "
          f"{noise[0]:.1e}, gradients {noise[1]:.1e}, mistakes move a logit by {min(moved.values()):.1e} or more, "
          f"{size // 1000} kB")


def evaluate(main, module, ids):
    """Losses, logits, and the gradient of loss + WEIGHT · mtp_loss under upstream's names."""
    main.zero_grad(), module.zero_grad()
    logits, mtp_logits = main(ids, use_cache=False).logits, module(main, ids)
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    mtp_loss = cross_entropy(mtp_logits.flatten(0, 1), ids[:, 2:].flatten())
    (loss + WEIGHT * mtp_loss).backward()
    out = {"input_ids": ids, "logits": logits, "mtp_logits": mtp_logits, "loss": loss.reshape(1),
           "mtp_loss": mtp_loss.reshape(1)}
    grads = apart({key: p.grad for key, p in main.named_parameters()})
    grads |= upstream(main.config, {key: p.grad for key, p in module.named_parameters()})
    clean = lambda tensors: {key: t.detach().clone().contiguous() for key, t in tensors.items()}
    return clean(out), clean(grads)


def upstream(config, tensors):
    """The module's tensors under the names of published files, where it is one layer more."""
    names = {"embed": "embed_tokens.weight", "head": "shared_head.head.weight", "norm.weight": "shared_head.norm.weight"}
    at = f"model.layers.{config.num_hidden_layers}."
    return apart({at + names.get(key, key.removeprefix("block.")): tensor for key, tensor in tensors.items()})


def apart(tensors):
    """`gate_up_proj` [E, 2·inner, D] and `down_proj` [E, D, inner] as one tensor an expert and projection."""
    out = {}
    for key, tensor in tensors.items():
        at, fused, kind = key.partition(".experts.")
        if not fused:
            out[key] = tensor
            continue
        for expert, matrix in enumerate(tensor):
            gate, up = matrix.chunk(2) if kind == "gate_up_proj" else (None, None)
            parts = {"down_proj": matrix} if gate is None else {"gate_proj": gate, "up_proj": up}
            out |= {f"{at}.experts.{expert}.{name}.weight": part for name, part in parts.items()}
    return out


def rounding(main, module, ids, out, grads):
    """How far f32 is from f64: largest logit difference, and gradient difference over the tensor's largest entry."""
    main, module = copy.deepcopy(main).double(), copy.deepcopy(module).double()
    main.set_attn_implementation("sdpa")  # its softmax stays in f64, the eager one goes down to f32
    module.block.self_attn.config._attn_implementation = "sdpa"
    for layer in itertools.chain(main.modules(), module.modules()):
        if isinstance(layer, DeepseekV3RMSNorm):
            layer.forward = lambda x, m=layer: m.weight * x * torch.rsqrt(
                x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon)
    exact, exact_grads = evaluate(main, module, ids)
    logits = max((out[key] - exact[key]).abs().max().item() for key in ("logits", "mtp_logits"))
    return logits, max(((g - exact_grads[k]).abs().max() / exact_grads[k].abs().max()).item()
                       for k, g in grads.items())
