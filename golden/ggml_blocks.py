"""Makes ggml_blocks.safetensors: bytes of each stored type, and what the packages `gguf` and `ml_dtypes` decode them to.

    pip install gguf ml_dtypes safetensors && python golden/ggml_blocks.py

Tensors: `TYPE.bytes` and `TYPE.values`; for the types that we write also `TYPE.from` (f32) and `TYPE.to` (its encoding).
"""
from pathlib import Path

import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

random = np.random.default_rng(7)
# Positions of the half-precision scales in a block.
SCALES = {
    T.F16: [], T.BF16: [], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82],
    T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: [],
}
# A usual scale; the largest; the smallest subnormal, negative.
EXTREMES = [None, 65504.0, -2.0**-24]
out = {}
for kind, scales in SCALES.items():
    values, width = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (16 if values == 1 else 6 if values == 32 else 3, width), dtype=np.uint8)
    for at in scales:
        for i, block in enumerate(blocks):
            extreme = EXTREMES[i % 3] if i < 3 else None
            scale = random.normal(0, 0.1) if extreme is None else extreme * random.choice([1, -1])
            block[at:at + 2] = np.array([scale], np.float16).view(np.uint8)
    if kind == T.MXFP4:
        blocks[:, 0] = [0, 1, 2, 120, 254, 255]
    with np.errstate(all="ignore"):
        decoded = dequantize(blocks, kind).astype(np.float32)
    out[f"{kind.name}.bytes"], out[f"{kind.name}.values"] = blocks, decoded

for name, kind in [("F8_E4M3", ml_dtypes.float8_e4m3fn), ("F8_E8M0", ml_dtypes.float8_e8m0fnu)]:
    every = np.arange(256, dtype=np.uint8)
    out[f"{name}.bytes"], out[f"{name}.values"] = every, every.view(kind).astype(np.float32)

f64 = np.array([0.1, -1e300, 1e-320, 3.0], np.float64)
with np.errstate(over="ignore"):
    out["F64.bytes"], out["F64.values"] = f64.view(np.uint8), f64.astype(np.float32)

rows = random.normal(0, 1, (8, 32)).astype(np.float32)
rows[1] *= 1e-6
rows[2] *= 1e4
rows[3] = 0
rows[4] = np.repeat([1.5, -1.5], 16)  # two of the largest magnitude
rows[5] = np.arange(32) / 2 - 8  # halves between the codes
rows[5, 0] = -63.5
rows[6] = -rows[5]
rows[7, 1:] = 0
for kind in (T.F16, T.BF16, T.Q8_0, T.Q4_0):
    encoded = quantize(rows, kind)
    out[f"{kind.name}.from"], out[f"{kind.name}.to"] = rows, encoded.view(np.uint8)

save_file(out, Path(__file__).with_name("ggml_blocks.safetensors"))
