"""Ollama, through its running server: its own timings, and the times at which pieces of text arrive."""

import urllib.error
import urllib.request

HOST = "http://127.0.0.1:11434"
NAME = "edgellm-benchmark"


def ask(path, body, stream=False):
    request = urllib.request.Request(HOST + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    response = urllib.request.urlopen(request, timeout=600)
    return response if stream else json.load(response)


try:
    version = json.load(urllib.request.urlopen(HOST + "/api/version", timeout=2))["version"]
except (urllib.error.URLError, OSError):
    absent(f"no Ollama answers at {HOST}: start `ollama serve`")

import shutil
import subprocess
import tempfile

program = shutil.which("ollama")
if not program:
    absent("Ollama answers but its program, which imports the model, is not on the PATH")
started = time.perf_counter()
with tempfile.NamedTemporaryFile("w", suffix=".Modelfile") as file:
    file.write(f"FROM {os.path.abspath(GGUF)}\n")
    file.flush()
    subprocess.run([program, "create", NAME, "-f", file.name], check=True, stdout=subprocess.DEVNULL)
ask("/api/generate", {"model": NAME, "keep_alive": "10m"})
load_ms = milliseconds(started)


def run(request):
    options = {
        "temperature": 0,
        "top_k": 1,
        "num_predict": request["generate"],
        "num_ctx": CONTEXT,
        "num_thread": THREADS,
        "repeat_penalty": 1.0,
        "seed": 0,
    }
    body = {
        "model": NAME,
        "prompt": request["text"],
        "raw": True,
        "stream": True,
        "keep_alive": "10m",
        "options": options,
    }
    last = {}

    def pieces():
        for line in ask("/api/generate", body, stream=True):
            event = json.loads(line)
            last.update(event)
            if event.get("response"):
                yield event["response"]

    done = timed_stream(pieces())
    # Its prefix cache would answer a known prompt without prefill: what it says it evaluated must be the prompt.
    if last.get("prompt_eval_count", 0) >= len(request["prompt"]) - 1:
        done["prefill_ms"] = last["prompt_eval_duration"] / 1e6
    return done


serve({"engine": f"Ollama {version}", "variant": "GGUF as given", "threads": THREADS, "load_ms": load_ms}, run)
