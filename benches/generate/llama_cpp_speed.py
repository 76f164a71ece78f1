"""Speed of llama.cpp by its own interface in C, as `llama-bench` has it: speed.py runs this in a process of its own."""

import ctypes
import json
import resource
import time

import llama_cpp

BATCH = 512
# Kept, because llama.cpp calls it as long as it lives.
SILENT = llama_cpp.llama_log_callback(lambda *_: None)


def measure(path, readers, threads, prompt_tokens, before, tokens):
    """Prints tokens a second of a prompt of `prompt_tokens` by one reader, and of `tokens` written by each of `readers` after
    `before` others."""
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = max(prompt_tokens, readers * (before + tokens)) + 64
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = threads
    params.n_seq_max = readers
    params.kv_unified = True  # one cache for all, so that a prompt may have what many readers share otherwise
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(max(BATCH, readers), 0, 1)

    def decode(tokens):
        """Tokens as (id, position, sequence, whether its logits are wanted)."""
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = sequence, wanted
        if llama_cpp.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(context)

    def forget():
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)

    def likeliest(row):
        logits = llama_cpp.llama_get_logits_ith(context, row)
        values = (ctypes.c_float * vocabulary).from_address(ctypes.addressof(logits.contents))
        return max(range(0, vocabulary, 997), key=values.__getitem__)  # any token does; all of them would time Python

    text = [i * 104_729 % vocabulary for i in range(max(prompt_tokens, before))]

    def read(count, sequence):
        for start in range(0, count, BATCH):
            decode([(text[i], i, sequence, i + 1 == count) for i in range(start, min(count, start + BATCH))])

    decode([(text[0], 0, 0, True)])  # warms up
    forget()
    start = time.perf_counter()
    read(prompt_tokens, 0)
    prefill = prompt_tokens / (time.perf_counter() - start)
    forget()
    for sequence in range(readers):
        read(before, sequence)
    last = [text[0]] * readers
    start = time.perf_counter()
    for step in range(tokens):
        decode([(last[sequence], before + step, sequence, True) for sequence in range(readers)])
        last = [likeliest(row) for row in range(readers)]
    written = readers * tokens / (time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"prefill": prefill, "decode": written, "mb": peak}))
