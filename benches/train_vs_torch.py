"""Training speed against PyTorch eager: the same model, batch and step, run in turns on one machine.

    pip install torch
    cargo build --release
    python benches/train_vs_torch.py --rounds 5            # needs target/release/picnic
    python benches/train_vs_torch.py --torch-only

The model is Llama-style: vocabulary 4096, d 256, 6 layers, 8 heads, SwiGLU 704, RMSNorm, RoPE, untied head; sequences of
256 × batch 16, f32, AdamW, cross-entropy on random ids. Each turn is a process of its own, so neither side inherits the
other's threads or memory; turns alternate, so a noisy neighbour hits both. Prints one JSON object: the medians, the
ratio, and every turn. Not here: `torch.compile`, bf16, GPUs, quality.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

VOCAB, DIM, LAYERS, HEADS, HIDDEN, SEQ, BATCH = 4096, 256, 6, 8, 704, 256, 16
MATMUL_PARAMS = LAYERS * (4 * DIM * DIM + 3 * DIM * HIDDEN) + VOCAB * DIM
FLOPS_PER_TOKEN = 6 * MATMUL_PARAMS + 12 * SEQ * DIM * LAYERS
PICNIC = Path(__file__).parent.parent / "target" / "release" / "picnic"
# glibc gives large blocks back to the kernel at every step; PyTorch is spared that, as a careful user would have it.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "67108864"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="timed PyTorch steps a round, after two untimed ones")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--picnic", type=Path, default=PICNIC, help="the binary")
    parser.add_argument("--torch-only", action="store_true")
    parser.add_argument("--one-turn", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one_turn:
        print(json.dumps(torch_turn(args.steps, args.threads)))
        return
    if not args.torch_only and not args.picnic.exists():
        sys.exit(f"{args.picnic} is missing: run `cargo build --release`, or pass --torch-only")

    torch_command = [sys.executable, __file__, "--one-turn", f"--steps={args.steps}", f"--threads={args.threads}"]
    picnic_command = [str(args.picnic), "bench", "train", "--json", f"--threads={args.threads}"]
    turns = {"torch": [], "picnic": []}
    for _ in range(args.rounds):
        turns["torch"].append(run(torch_command, KEEP_MEMORY))
        if not args.torch_only:
            turns["picnic"].append(run(picnic_command, {}))
    medians = {side: {key: statistics.median(turn[key] for turn in done) for key in done[0]}
               for side, done in turns.items() if done}
    report = {"medians": medians, "turns": turns}
    if not args.torch_only:
        report["ratio"] = medians["picnic"]["tokens_per_second"] / medians["torch"]["tokens_per_second"]
    print(json.dumps(report, indent=1))


def run(command, extra_env):
    done = subprocess.run(command, env=os.environ | extra_env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}")
    return json.loads(done.stdout)


def torch_turn(steps, threads):
    """Trains for a few steps; the speed is that of the median step."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = llama(torch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for _ in range(2 + steps):
        ids = torch.randint(VOCAB, (BATCH, SEQ + 1))
        start = time.perf_counter()
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.view(-1, VOCAB), ids[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    assert torch.isfinite(loss), "the loss is not a number: a speed without meaning"
    speed = BATCH * SEQ / statistics.median(seconds[2:])
    return {"tokens_per_second": speed, "gflops": speed * FLOPS_PER_TOKEN / 1e9,
            "ceiling_gflops": gemm_ceiling(torch),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def gemm_ceiling(torch, n=1024, products=2, repeats=10):
    """PyTorch's own best at `products` products of n³, the yardstick of its side."""
    pairs = [(torch.randn(n, n), torch.randn(n, n)) for _ in range(products)]
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for a, b in pairs:
            a @ b
        best = min(best, time.perf_counter() - start)
    return products * 2 * n**3 / best / 1e9


def llama(torch):
    """The model as one would write it for speed in eager mode: fused q/k/v and gate/up, fused attention and norm."""
    from torch import nn
    from torch.nn import functional as F

    half = DIM // HEADS // 2
    angles = torch.outer(torch.arange(SEQ).float(), 10000.0 ** (-torch.arange(half).float() / half))
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def rotate(x):  # [batch, heads, tokens, head_dim]
        a, b = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-b, a), dim=-1) * sin

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_norm, self.mlp_norm = nn.RMSNorm(DIM, eps=1e-5), nn.RMSNorm(DIM, eps=1e-5)
            self.qkv, self.out = nn.Linear(DIM, 3 * DIM, bias=False), nn.Linear(DIM, DIM, bias=False)
            self.gate_up, self.down = nn.Linear(DIM, 2 * HIDDEN, bias=False), nn.Linear(HIDDEN, DIM, bias=False)

        def forward(self, x):
            qkv = self.qkv(self.attention_norm(x)).view(*x.shape[:2], 3, HEADS, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            heads = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + self.out(heads.transpose(1, 2).flatten(2))
            gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
            return x + self.down(F.silu(gate) * up)

    model = nn.Sequential(nn.Embedding(VOCAB, DIM), *[Block() for _ in range(LAYERS)], nn.RMSNorm(DIM, eps=1e-5),
                          nn.Linear(DIM, VOCAB, bias=False))
    assert sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2) == MATMUL_PARAMS + VOCAB * DIM
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 2:
                p.normal_(std=0.02)
    return model


if __name__ == "__main__":
    main()
