"""Speed of llama.cpp, or of ik_llama.cpp, by its interface in C, as `llama-bench` has it, and what it makes of a text. Others
run this in a process of its own, because each of the two loads libraries by the same names."""

import ctypes
import json
import time

BATCH = 512


def llama_cpp(path):
    """The library, the model, the parameters of a context, and what empties its cache."""
    import llama_cpp as api
    silent = api.llama_log_callback(lambda *_: None)
    api.kept = silent  # llama.cpp calls it as long as it lives
    api.llama_log_set(silent, ctypes.c_void_p(0))
    api.llama_backend_init()
    model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.kv_unified = True  # one cache for all, so that a prompt may have what many readers share otherwise
    return api, model, params, lambda context: api.llama_memory_clear(api.llama_get_memory(context), True)


def ik_llama_cpp(path, repack, mla, cache):
    """The same of ik_llama.cpp. `repack` interleaves rows of weights when they are loaded, `mla` is its form of MLA from 0 to
    3, `cache` the type of keys and values, 1 for f16 and 8 for q8_0."""
    from ik_llama_cpp import _ctypes_api as api
    api.llama_backend_init()
    params = api.llama_model_default_params()
    params.repack_tensors, params.use_mmap, params.mla = repack, not repack, mla
    model = api.llama_model_load_from_file(path.encode(), params)
    params = api.llama_context_default_params()
    params.mla_attn, params.type_k, params.type_v = mla, cache, cache
    params.flash_attn = params.fused_moe_up_gate = params.fused_up_gate = True
    return api, model, params, api.llama_kv_cache_clear


def session(peer, threads, positions, readers):
    """A context for so many positions of `readers`, what reads the logits of a row, and what runs the model over tokens."""
    api, model, params, _ = peer
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    params.n_ctx = positions
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = threads
    params.n_seq_max = readers
    context = api.llama_init_from_model(model, params)
    batch = api.llama_batch_init(max(BATCH, readers), 0, 1)

    def logits(row):
        values = api.llama_get_logits_ith(context, row)  # waits until they are there
        at = values if isinstance(values, int) else ctypes.cast(values, ctypes.c_void_p).value
        return (ctypes.c_float * vocabulary).from_address(at)

    def decode(tokens):
        """Tokens as (id, position, sequence, whether its logits are wanted)."""
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wanted
        if api.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")

    return context, logits, decode


def nats(peer, threads, windows):
    """Prints the mean negative log-probability of the tokens of windows, each but its first token."""
    import numpy as np

    forget = peer[3]
    context, logits, decode = session(peer, threads, BATCH, 1)
    total, count = 0.0, 0
    for window in windows:
        forget(context)
        decode([(token, position, 0, True) for position, token in enumerate(window)])
        for row, token in enumerate(window[1:]):
            values = np.frombuffer(logits(row), np.float32).astype(np.float64)
            total -= values[token] - values.max() - np.log(np.exp(values - values.max()).sum())
        count += len(window) - 1
    print(json.dumps(total / count))


def measure(peer, readers, threads, prompt_tokens, before, tokens):
    """Prints tokens a second of a prompt of `prompt_tokens` by one reader, and of `tokens` written by each of `readers` after
    `before` others. `peer` is what a function above returns."""
    api, model, params, forget = peer
    vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    context, logits, decode = session(peer, threads, max(prompt_tokens, readers * (before + tokens)) + 64, readers)

    def likeliest(row):
        return max(range(0, vocabulary, 997), key=logits(row).__getitem__)  # any token does; all would time Python

    text = [i * 104_729 % vocabulary for i in range(max(prompt_tokens, before))]

    def read(count, sequence):
        for start in range(0, count, BATCH):
            end = min(count, start + BATCH)
            decode([(text[i], i, sequence, i + 1 == count) for i in range(start, end)])
        logits(end - start - 1)

    decode([(text[0], 0, 0, True)])  # warms up
    logits(0)
    forget(context)
    start = time.perf_counter()
    read(prompt_tokens, 0)
    prefill = prompt_tokens / (time.perf_counter() - start)
    forget(context)
    for sequence in range(readers):
        read(before, sequence)
    last = [text[0]] * readers
    start = time.perf_counter()
    for step in range(tokens):
        decode([(last[sequence], before + step, sequence, True) for sequence in range(readers)])
        last = [likeliest(row) for row in range(readers)]
    written = readers * tokens / (time.perf_counter() - start)
    # Not `ru_maxrss`, which a process takes over from the one that started it.
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
    print(json.dumps({"prefill": prefill, "decode": written, "mb": peak}))
