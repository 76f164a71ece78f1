"""The fixture of Muon: steps of `torch.optim.Muon` on weights that are wide, tall, square and a row.

The iteration is torch's own, but in f32: torch computes it in bf16, which only a tolerance of percents would let through.
Called by make.py; README.md says what the file holds.
"""

from unittest import mock

import torch
from safetensors.torch import save_file

SHAPES = [(12, 40), (40, 12), (24, 24), (1, 9)]
STEPS = 5


def write(folder):
    generator = torch.Generator().manual_seed(11)
    tensors = {}
    for shape in SHAPES:
        weight = torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1)
        name = "x".join(map(str, shape))
        tensors[f"{name}.start"] = weight.detach().clone()
        tensors[f"{name}.gradients"] = torch.randn((STEPS, *shape), generator=generator)
        muon = torch.optim.Muon([weight], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        after = []
        for gradient in tensors[f"{name}.gradients"]:
            weight.grad = gradient.clone()
            with mock.patch.object(torch, "bfloat16", torch.float32):
                muon.step()
            after.append(weight.detach().clone())
        tensors[f"{name}.after"] = torch.stack(after)
    save_file(tensors, folder / "muon.safetensors")
