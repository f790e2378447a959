"""OpenVINO GenAI, which reads GGUF files of some models."""

from importlib import metadata

try:
    import openvino_genai
except (ImportError, OSError) as error:
    absent(f"no openvino-genai for {sys.executable} ({error}): pip install openvino-genai")

started = time.perf_counter()
try:
    pipeline = openvino_genai.LLMPipeline(GGUF, "CPU", {"INFERENCE_NUM_THREADS": THREADS})
except Exception as error:
    absent(f"OpenVINO GenAI cannot read {GGUF}: {str(error).splitlines()[-1]}")
load_ms = milliseconds(started)


def run(request):
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = request["generate"]
    config.ignore_eos, config.do_sample, config.apply_chat_template = True, False, False
    result = pipeline.generate([request["text"]], config)
    metrics = result.perf_metrics.raw_metrics
    gaps = [microseconds / 1e3 for microseconds in metrics.m_durations]
    return {
        "token_ids": [],
        "text": result.texts[0],
        "ttft_ms": metrics.m_times_to_first_token[0],
        "inter_token_ms": gaps[1:],
    }


serve(
    {
        "engine": f"OpenVINO GenAI {metadata.version('openvino-genai')}",
        "variant": "GGUF as given",
        "kernel": "CPU",
        "threads": THREADS,
        "load_ms": load_ms,
    },
    run,
)
