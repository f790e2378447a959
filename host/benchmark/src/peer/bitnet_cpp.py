"""bitnet.cpp's build of llama-server: EDGELLM_BITNET_SERVER names that program, EDGELLM_BITNET_MODEL its GGUF."""

import socket
import subprocess
import urllib.error
import urllib.request

program = os.environ.get("EDGELLM_BITNET_SERVER")
model = os.environ.get("EDGELLM_BITNET_MODEL", GGUF)
if not program:
    absent("EDGELLM_BITNET_SERVER must name the llama-server of a bitnet.cpp build, EDGELLM_BITNET_MODEL its GGUF file")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
started = time.perf_counter()
server = subprocess.Popen(
    [program, "-m", model, "-t", str(THREADS), "-c", str(CONTEXT), "--host", "127.0.0.1", "--port", str(port)],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
        break
    except (urllib.error.URLError, OSError):
        if server.poll() is not None:
            absent(f"{program} ended with {server.returncode} instead of serving {model}")
        time.sleep(0.05)
load_ms = milliseconds(started)


def run(request):
    body = {
        "prompt": request["prompt"],
        "n_predict": request["generate"],
        "temperature": 0,
        "cache_prompt": False,
        "ignore_eos": True,
        "stream": True,
    }
    query = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode())
    last = {}

    def pieces():
        for line in urllib.request.urlopen(query, timeout=600):
            if line.startswith(b"data: "):
                last.update(json.loads(line[6:]))
                if last.get("content"):
                    yield last["content"]

    done = timed_stream(pieces())
    done["prefill_ms"] = last.get("timings", {}).get("prompt_ms")
    return done


try:
    serve({"engine": "bitnet.cpp", "variant": os.path.basename(model), "threads": THREADS, "load_ms": load_ms}, run)
finally:
    server.terminate()
