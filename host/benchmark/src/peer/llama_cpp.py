"""llama.cpp, through the C interface that llama-cpp-python exposes: no Python between two tokens but this loop."""

from importlib import metadata

try:
    started = time.perf_counter()
    import llama_cpp as ll
except (ImportError, OSError, RuntimeError) as error:
    absent(f"no llama-cpp-python for {sys.executable} ({error}): scripts/setup peers builds it")

import ctypes

ll.llama_backend_init()
model_options = ll.llama_model_default_params()
model_options.n_gpu_layers = 0
started = time.perf_counter()
model = ll.llama_model_load_from_file(GGUF.encode(), model_options)
if not model:
    absent(f"llama.cpp cannot read {GGUF}")
options = ll.llama_context_default_params()
options.n_ctx = CONTEXT
options.n_batch = max(CONTEXT, 512)
options.n_threads = options.n_threads_batch = THREADS
context = ll.llama_init_from_model(model, options)
load_ms = milliseconds(started)
vocabulary = ll.llama_model_get_vocab(model)
sampler = ll.llama_sampler_init_greedy()
description = ctypes.create_string_buffer(128)
ll.llama_model_desc(model, description, 128)


def run(request):
    prompt = request["prompt"]
    tokens = (ll.llama_token * len(prompt))(*prompt)
    one = (ll.llama_token * 1)()
    ll.llama_memory_clear(ll.llama_get_memory(context), True)
    ids, gaps = [], []
    start = time.perf_counter()
    if ll.llama_decode(context, ll.llama_batch_get_one(tokens, len(prompt))):
        raise RuntimeError("llama_decode failed")
    ll.llama_synchronize(context)
    prefill = milliseconds(start)
    ids.append(ll.llama_sampler_sample(sampler, context, -1))
    ttft = milliseconds(start)
    while len(ids) < request["generate"]:
        start = time.perf_counter()
        one[0] = ids[-1]
        if ll.llama_decode(context, ll.llama_batch_get_one(one, 1)):
            raise RuntimeError("llama_decode failed")
        ids.append(ll.llama_sampler_sample(sampler, context, -1))
        gaps.append(milliseconds(start))
    return {"token_ids": ids, "prefill_ms": prefill, "ttft_ms": ttft, "inter_token_ms": gaps}


features = ll.llama_print_system_info().decode()
used = [name for name in ("AVX512_VNNI", "AVX512", "AVX2", "DOTPROD", "NEON") if f"{name} = 1" in features]
serve(
    {
        "engine": f"llama.cpp (llama-cpp-python {metadata.version('llama-cpp-python')})",
        "variant": description.value.decode().split()[-1],
        "kernel": used[0] if used else "",
        "threads": THREADS,
        "load_ms": load_ms,
        "weight_bytes_per_token": ll.llama_model_size(model),
    },
    run,
)
