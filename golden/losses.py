"""Fixtures of the loss formulas that no library ships: GRPO and its variants, the router's gate, the sequence-wise
balance loss.

Each formula is written as the paper has it, in float64, and its gradient is torch's autograd. The gate itself is
`transformers`' DeepSeek-V3 router, or for a softmax its DeepSeek-V2 one, in float32. Called by make.py; README.md says what the files hold.
"""

import json

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter

EPSILON, BETA, ALPHA = 0.2, 0.04, 1e-2
GATES = {
    "grouped": dict(n_routed_experts=12, n_group=4, topk_group=2, num_experts_per_tok=3, norm_topk_prob=True,
                    routed_scaling_factor=2.5),
    "plain": dict(n_routed_experts=7, n_group=1, topk_group=1, num_experts_per_tok=2, norm_topk_prob=True,
                  routed_scaling_factor=1.0),
    "unnormalised": dict(n_routed_experts=6, n_group=2, topk_group=1, num_experts_per_tok=2, norm_topk_prob=False,
                         routed_scaling_factor=1.5),
    "softmax": dict(n_routed_experts=12, n_group=4, topk_group=2, num_experts_per_tok=3, norm_topk_prob=False,
                    routed_scaling_factor=2.5, scoring_func="softmax", topk_method="group_limited_greedy"),
}


def write(folder):
    save_file(grpo(), folder / "grpo_golden.safetensors")
    save_file(variants(), folder / "grpo_variants.safetensors")
    (folder / "balance").mkdir(exist_ok=True)
    tensors = {f"{name}.{key}": t for name, config in GATES.items() for key, t in gate(config).items()}
    save_file(tensors, folder / "balance" / "gate.safetensors")
    cases = {name: config | {"alpha": ALPHA} for name, config in GATES.items()}
    (folder / "balance" / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


def grpo():
    """GRPO's loss over one group of 8 (DeepSeekMath §4.1, DeepSeek-R1 §2.2.1), under two averages.

    Every branch is taken: ratios inside and outside the clip on both signs of the advantage, masked tokens in
    the middle and at the end, samples of unequal length, logprobs of policies that lie apart.
    """
    rng = torch.Generator().manual_seed(11)
    rand = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
    n, t = 8, 19
    ids = torch.randint(2, 61, (n, t + 1), generator=rng)
    rewards = torch.tensor([0.0, 1.0, 1.0, 0.1, 0.0, 2.0, 0.1, 0.0], dtype=torch.float64)
    mask = torch.zeros(n, t, dtype=torch.float64)
    for row, end in enumerate([19, 12, 7, 19, 9, 15, 6, 18]):
        mask[row, 5:end] = 1.0  # the prompt's five tokens carry no loss
    mask[3, 9:11] = 0.0
    logp_new = -(rand(n, t) * 1.5).abs()
    logp_old = logp_new.clone() + 0.25 * rand(n, t)
    logp_ref = logp_new.clone() + 0.5 * rand(n, t)
    logp_new.requires_grad_()

    advantages = (rewards - rewards.mean()) / (rewards.std(correction=0) + 1e-8)
    ratio = torch.exp(logp_new - logp_old)
    surrogate = torch.minimum(ratio * advantages[:, None],
                              ratio.clamp(1 - EPSILON, 1 + EPSILON) * advantages[:, None])
    kl = torch.exp(logp_ref - logp_new) - (logp_ref - logp_new) - 1
    per_token = -(surrogate - BETA * kl) * mask
    seq_mean = (per_token.sum(1) / mask.sum(1)).mean()
    token_mean = per_token.sum() / mask.sum()
    grads = {f"grad_{name}": torch.autograd.grad(loss, logp_new, retain_graph=True)[0]
             for name, loss in (("seq_mean", seq_mean), ("token_mean", token_mean))}
    return {"input_ids": ids, "rewards": rewards, "advantages": advantages, "mask": mask, "kl": kl.detach(),
            "logp_new": logp_new.detach(), "logp_old": logp_old, "logp_ref": logp_ref,
            "loss_seq_mean": seq_mean.detach().reshape(1), "loss_token_mean": token_mean.detach().reshape(1)} | grads


def variants():
    """Objectives after GRPO on one group of 8 samples of unequal length, off policy: losses and gradients.

    Each is written for a whole sequence as its paper has it, and autograd finds what reaches a token. The samples lie
    up to 0.35 nats a token from the policy that drew them, so that every clip and mask takes some and leaves some.
    """
    rng = torch.Generator().manual_seed(23)
    rand = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)
    n, t, max_tokens = 8, 12, 15
    lengths = torch.tensor([12, 5, 9, 12, 7, 3, 10, 6], dtype=torch.float64)
    mask = (torch.arange(t)[None, :] < lengths[:, None]).double()
    rewards = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    away = torch.tensor([-0.3, 2e-4, 0.35, -1e-4, 1e-4, 3.5e-4, -0.05, -0.2], dtype=torch.float64)  # of each mean
    noise = 0.4 * rand(n, t) * mask
    noise = (noise - noise.sum(1, keepdim=True) / lengths[:, None] + away[:, None]) * mask
    new = -(rand(n, t) * 1.2).abs() - 0.1
    old, ref = new - noise, new + 0.4 * rand(n, t)
    new.requires_grad_()

    centred = rewards - rewards.mean()
    scaled = centred / (rewards.std(correction=0) + 1e-8)
    ratio = torch.exp(new - old)
    log_ratio = ((new - old) * mask).sum(1) / lengths
    k3 = torch.exp(ref - new) - (ref - new) - 1
    least = lambda ratio, a, low, high: torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)

    # DAPO, equation 8: over all tokens.
    dapo = -(least(ratio, scaled[:, None], 0.2, 0.28) * mask).sum() / mask.sum()
    # Dr. GRPO, section 3.2: the sum of a sample's tokens over a constant.
    dr_grpo = -((least(ratio, centred[:, None], 0.2, 0.2) * mask).sum(1) / max_tokens).mean()
    # GSPO, equations 5 and 7.
    gspo = -least(torch.exp(log_ratio), scaled, 3e-4, 4e-4).mean()
    # CISPO, MiniMax-M1, equations 4 and 5, with an upper bound that bites.
    cispo = -(ratio.clamp(max=1.3).detach() * scaled[:, None] * new * mask).sum() / mask.sum()
    # DeepSeek-V3.2, equations 5 to 9.
    kept = 1 - ((centred < 0) & (-log_ratio > 0.1)).double().detach()
    per_token = least(ratio, centred[:, None], 0.2, 0.2) * kept[:, None] - BETA * ratio * k3
    v3_2 = -((per_token * mask).sum(1) / lengths).mean()

    losses = {"dapo": dapo, "dr-grpo": dr_grpo, "gspo": gspo, "cispo": cispo, "v3.2": v3_2}
    out = {"rewards": rewards, "lengths": lengths, "new": new.detach(), "old": old, "ref": ref, "kept": kept}
    for name, loss in losses.items():
        out[f"{name}.loss"] = loss.detach().reshape(1)
        out[f"{name}.grad"] = torch.autograd.grad(loss, new, retain_graph=True)[0]
    return out


def gate(config, sequences=3, tokens=10):
    """Gate and balance loss on random router logits [sequences, tokens, experts] (DeepSeek-V3 §2.1.2).

    With a softmax (DeepSeek-V2 §2.2) there is no bias, and the best of a group is its score.
    """
    experts, k = config["n_routed_experts"], config["num_experts_per_tok"]
    softmax = config.get("scoring_func") == "softmax"
    if softmax:
        settings = {key: value for key, value in config.items() if key != "scoring_func"}
        settings |= dict(hidden_size=experts, num_attention_heads=1)  # heads that divide it, for the config's own check
        router = DeepseekV2TopkRouter(transformers.DeepseekV2Config(**settings))
    else:
        router = DeepseekV3TopkRouter(transformers.DeepseekV3Config(hidden_size=experts, **config))
    score = (lambda x: x.softmax(-1)) if softmax else torch.sigmoid
    with torch.no_grad():
        router.weight.copy_(torch.eye(experts))  # so that its input is the logits
    for seed in range(1000):
        rng = torch.Generator().manual_seed(seed)
        logits = torch.randn(sequences, tokens, experts, generator=rng) * 1.5
        bias = torch.zeros(experts) if softmax else torch.randn(experts, generator=rng) * 0.3
        if clearance(score(logits) + bias, config, 1 if softmax else 2) > 1e-3:
            break
    if not softmax:
        router.e_score_correction_bias.copy_(bias)

    x = logits.clone().requires_grad_()
    _, weights, ids = router(x)
    ids, order = ids.sort(dim=-1)
    weights = weights.gather(1, order).view(sequences, tokens, k)
    projection = torch.randn(weights.shape, generator=rng)
    weights_grad = torch.autograd.grad((weights * projection).sum(), x)[0]
    ids = ids.view(sequences, tokens, k)

    loss, load, share, loss_grad = balance(logits.double(), ids, score)
    return {"logits": logits, "ids": ids, "weights": weights.detach(), "projection": projection,
            "weights_grad": weights_grad, "load": load, "share": share, "balance_loss": loss,
            "balance_grad": loss_grad} | ({} if softmax else {"bias": bias})


def balance(logits, ids, score):
    """α·Σ_i f_i·P_i of each sequence, averaged over sequences; `ids` are the experts that tokens went to.

    Returns the loss, f [sequences, experts], P [sequences, experts] and the gradient at the logits. f is a count
    and carries no gradient.
    """
    logits = logits.requires_grad_()
    _, tokens, experts = logits.shape
    scores = score(logits)
    share = (scores / scores.sum(-1, keepdim=True)).mean(1)
    counts = torch.nn.functional.one_hot(ids, experts).sum((1, 2)).double()
    load = experts / (ids.shape[-1] * tokens) * counts
    loss = ALPHA * (load * share).sum(-1).mean()
    return loss.detach().reshape(1), load, share.detach(), torch.autograd.grad(loss, logits)[0]


def clearance(scores, config, best_of_group):
    """The smallest distance between a kept and a dropped expert or group, over all tokens.

    A group's score is the sum of so many of its best.
    """
    groups = scores.flatten(0, 1).unflatten(-1, (config["n_group"], -1))
    group_scores = groups.topk(best_of_group, dim=-1)[0].sum(-1)
    order, by_group = group_scores.sort(descending=True)
    keep, k, clear = config["topk_group"], config["num_experts_per_tok"], []
    if keep < config["n_group"]:
        clear.append((order[:, keep - 1] - order[:, keep]).min())
    kept = torch.zeros_like(group_scores).scatter_(1, by_group[:, :keep], 1.0).bool()
    best = groups.masked_fill(~kept[..., None], -torch.inf).flatten(1).sort(descending=True)[0]
    clear.append((best[:, k - 1] - best[:, k]).min())
    return min(clear).item()
