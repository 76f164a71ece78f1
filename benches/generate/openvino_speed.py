"""Speed of openvino-genai, which reads GGUF files of some architectures, and what it makes of a text. Others run this in a process
of its own."""

import json
import time


def nats(path, threads, windows):
    """Prints the mean negative log-probability of the tokens of windows, each but its first token."""
    import numpy as np
    import openvino
    import openvino_genai as genai

    pipe = genai.ContinuousBatchingPipeline(path, genai.SchedulerConfig(), "CPU", {"INFERENCE_NUM_THREADS": threads})
    config = genai.GenerationConfig(max_new_tokens=1, echo=True, logprobs=1, do_sample=False, ignore_eos=True)
    total, count = 0.0, 0
    for at, window in enumerate(windows):
        handle = pipe.add_request(at, openvino.Tensor(np.array([window], dtype=np.int64)), config)
        while pipe.has_non_finished_requests():
            pipe.step()
        answer = handle.read_all()[0]
        assert answer.generated_ids[:-1] == window, "the prompt is not echoed"
        total -= sum(answer.generated_log_probs[1:-1])  # nothing comes before the first, and the last was written
        count += len(window) - 1
    print(json.dumps(total / count))


def measure(path, readers, threads, prompt_tokens, before, tokens):
    """Prints tokens a second of a prompt of `prompt_tokens` by one reader, and of `tokens` written by each of `readers` after
    `before` others."""
    import numpy as np
    import openvino
    import openvino_genai as genai

    pipe = genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=threads)

    def generate(count, readers, tokens, first=0):
        # Readers begin with different tokens: what is alike would be found in its cache and not read.
        ids = [[(first + reader + i) * 104_729 % 40_000 + 100 for i in range(count)] for reader in range(readers)]
        ids = np.array(ids, dtype=np.int64)
        inputs = genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        config = genai.GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, ignore_eos=True, do_sample=False)
        start = time.perf_counter()
        metrics = pipe.generate(inputs, config).perf_metrics
        return time.perf_counter() - start, metrics

    generate(8, 1, 2)  # compiles
    generate(prompt_tokens, 1, 1)
    reading = generate(prompt_tokens, 1, 1, first=1000)[0]
    generate(before, readers, 2)
    short, long = generate(before, readers, 1)[0], generate(before, readers, tokens + 1)[0]
    # Not `ru_maxrss`, which a process takes over from the one that started it.
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
    print(json.dumps({"prefill": prompt_tokens / reading, "decode": readers * tokens / (long - short), "mb": peak}))
