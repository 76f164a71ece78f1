"""Makes ggml_blocks.json: bytes of each block type and what the PyPI package `gguf` decodes them to.

    pip install gguf && python make_ggml_blocks.py > ggml_blocks.json
"""
import json

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize

random = np.random.default_rng(7)
# Type, bytes of a block, positions of its half-precision scales.
TYPES = [
    (T.F16, 2, [0]), (T.BF16, 2, []), (T.Q4_0, 18, [0]), (T.Q4_1, 20, [0, 2]), (T.Q5_0, 22, [0]),
    (T.Q5_1, 24, [0, 2]), (T.Q8_0, 34, [0]), (T.Q4_K, 144, [0, 2]), (T.Q6_K, 210, [208]),
]
out = {}
for kind, width, scales in TYPES:
    blocks = random.integers(0, 256, (2, width), dtype=np.uint8)
    for at in scales:
        blocks[:, at:at + 2] = random.normal(0, 1, 2).astype(np.float16).view(np.uint8).reshape(2, 2)
    values = dequantize(blocks, kind).reshape(-1)
    out[kind.name] = {"type": int(kind), "bytes": blocks.tobytes().hex(), "values": [float(v) for v in values]}
print(json.dumps(out).replace('}, "', '},\n"'))
