"""onnxruntime-genai. It does not read GGUF: EDGELLM_ONNX_MODEL is the directory of the same model in its own format."""

from importlib import metadata

try:
    import onnxruntime_genai as og
except (ImportError, OSError) as error:
    absent(f"no onnxruntime-genai for {sys.executable} ({error}): pip install onnxruntime-genai")
folder = os.environ.get("EDGELLM_ONNX_MODEL")
if not folder:
    absent("onnxruntime-genai reads no GGUF: EDGELLM_ONNX_MODEL must name a folder made by its model builder")

started = time.perf_counter()
config = og.Config(folder)
config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": THREADS}}}}))
model = og.Model(config)
load_ms = milliseconds(started)


def run(request):
    length = len(request["prompt"]) + request["generate"]
    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
    generator = og.Generator(model, parameters)
    ids, gaps = [], []
    start = time.perf_counter()
    generator.append_tokens(request["prompt"])
    prefill = milliseconds(start)
    generator.generate_next_token()
    ttft = milliseconds(start)
    ids.append(int(generator.get_next_tokens()[0]))
    while len(ids) < request["generate"]:
        start = time.perf_counter()
        generator.generate_next_token()
        ids.append(int(generator.get_next_tokens()[0]))
        gaps.append(milliseconds(start))
    return {"token_ids": ids, "prefill_ms": prefill, "ttft_ms": ttft, "inter_token_ms": gaps}


serve(
    {
        "engine": f"onnxruntime-genai {metadata.version('onnxruntime-genai')}",
        "variant": os.path.basename(folder),
        "threads": THREADS,
        "load_ms": load_ms,
    },
    run,
)
