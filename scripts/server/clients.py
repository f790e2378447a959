#!/usr/bin/env python3
"""Common requests from OpenAI's Python and JavaScript clients, LangChain and the llm tool to a running server."""

import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path

import openai

from process import MODEL, ROOT, Server, program, run_tests, within

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 40}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
QUESTION = "What is the capital of France? Answer in one sentence."
ASK = [{"role": "user", "content": QUESTION}]


def client(server: Server, **options) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key=options.pop("api_key", "none"), max_retries=0, **options)


def chat_and_stream() -> None:
    with Server() as server:
        api = client(server)
        options = {"model": MODEL, "messages": ASK, "max_tokens": 40, "seed": 1, "temperature": 0}
        whole = api.chat.completions.create(**options)
        text = whole.choices[0].message.content
        assert "Paris" in text, text
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        pieces, usage = [], None
        for chunk in api.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
            pieces += [choice.delta.content or "" for choice in chunk.choices]
            usage = chunk.usage or usage
        assert "".join(pieces) == text, pieces
        assert usage.completion_tokens == whole.usage.completion_tokens
        assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1
        probable = api.chat.completions.create(**options, logprobs=True, top_logprobs=2)
        content = probable.choices[0].logprobs.content
        assert "".join(token.token for token in content) == text
        assert all(len(token.top_logprobs) == 2 for token in content)
        three = api.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, n=3, seed=3, temperature=1.5)
        assert len({choice.message.content for choice in three.choices}) > 1
        stopped = api.chat.completions.create(**options, stop=["Paris"])
        assert "Paris" not in stopped.choices[0].message.content
        assert stopped.choices[0].finish_reason == "stop"
        old = api.completions.create(model=MODEL, prompt="One, two, three,", max_tokens=4, temperature=0)
        assert "four" in old.choices[0].text, old.choices[0].text


def tools() -> None:
    with Server() as server:
        api = client(server)
        messages = [{"role": "user", "content": "How is the weather in Oslo?"}]
        options = {"model": MODEL, "tools": [WEATHER], "seed": 1, "max_tokens": 120, "temperature": 0}
        answer = api.chat.completions.create(
            messages=messages, tool_choice="required", parallel_tool_calls=False, **options
        )
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls", choice
        call = choice.message.tool_calls[0]
        assert call.function.name == "get_weather"
        assert set(json.loads(call.function.arguments)) == {"city"}
        stream = api.chat.completions.create(
            messages=messages, tool_choice="required", parallel_tool_calls=False, stream=True, **options
        )
        deltas = [choice.delta.tool_calls[0] for chunk in stream for choice in chunk.choices if choice.delta.tool_calls]
        assert "".join(delta.function.arguments for delta in deltas) == call.function.arguments
        messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "Snow, -3 degrees"}]
        final = api.chat.completions.create(messages=messages, tool_choice="none", **options)
        assert final.choices[0].message.content
        free = api.chat.completions.create(messages=messages, **options)
        assert free.choices[0].finish_reason in ("stop", "length", "tool_calls")


def schemas() -> None:
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    with Server() as server:
        api = client(server)
        messages = [{"role": "user", "content": "Ada Lovelace was 36. Give her as JSON."}]
        wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
        answer = api.chat.completions.create(
            model=MODEL, messages=messages, response_format=wanted, max_tokens=80, seed=1, temperature=0
        )
        person = json.loads(answer.choices[0].message.content)
        assert isinstance(person["age"], int) and set(person) == {"name", "age"}, person
        parsed = api.chat.completions.parse(
            model=MODEL, messages=messages, response_format=Person, max_tokens=80, seed=1, temperature=0
        )
        assert isinstance(parsed.choices[0].message.parsed, Person)
        loose = api.chat.completions.create(
            model=MODEL,
            messages=messages,
            response_format={"type": "json_object"},
            max_tokens=200,
            seed=2,
            temperature=0,
        )
        if loose.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(loose.choices[0].message.content), dict)


def embeddings_and_models() -> None:
    with Server() as server:
        api = client(server)
        texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose in March."]
        data = api.embeddings.create(model=MODEL, input=texts).data
        vectors = [item.embedding for item in data]
        assert all(len(vector) == 576 for vector in vectors)
        assert all(math.isclose(sum(x * x for x in vector), 1, rel_tol=1e-4) for vector in vectors)
        close, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
        assert close > far, (close, far)
        floats = api.embeddings.create(model=MODEL, input=texts[0], encoding_format="float").data[0].embedding
        assert max(abs(a - b) for a, b in zip(floats, vectors[0], strict=True)) < 1e-6
        assert [model.id for model in api.models.list()] == [MODEL]
        assert api.models.retrieve(MODEL).id == MODEL


def scoring() -> None:
    """Scores through the API, as lm-evaluation-harness computes them, are those of `edgellm evaluate`."""
    items = [
        ("The capital of France is", [" Paris", " London", " a kind of bread"], 0),
        ("Question: What do bees make?\nAnswer:", [" milk", " honey", " iron"], 1),
        ("She opened the umbrella because it", [" was raining.", " was on the moon.", " sang loudly."], 0),
        ("Water freezes at", [" 100 degrees Celsius", " 0 degrees Celsius"], 1),
        ("Two plus two is", [" five", " seven", " four"], 2),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.jsonl"
        names = ("context", "choices", "label")
        path.write_text("".join(json.dumps(dict(zip(names, item, strict=True))) + "\n" for item in items))
        command = [program(), "evaluate", "--model", MODEL, "--task", path, "--json"]
        evaluated = subprocess.run(command, check=True, capture_output=True, text=True)
        expected = json.loads(evaluated.stdout)["tasks"]["facts"]
    right = {"acc": 0, "acc_norm": 0}
    with Server() as server:
        api = client(server)

        def tokens(text: str) -> list[int]:
            return server.post("/tokenize", {"content": text})["tokens"]

        for context, choices, label in items:
            known = len(tokens(context))
            answer = api.completions.create(
                model=MODEL,
                prompt=[tokens(context + choice) for choice in choices],
                max_tokens=1,
                temperature=0,
                logprobs=1,
                echo=True,
            )
            likelihoods = [sum(choice.logprobs.token_logprobs[known:-1]) for choice in answer.choices]
            by_length = [sum_ / len(text.strip()) for sum_, text in zip(likelihoods, choices, strict=True)]
            right["acc"] += likelihoods.index(max(likelihoods)) == label
            right["acc_norm"] += by_length.index(max(by_length)) == label
        for metric, count in right.items():
            assert math.isclose(count / len(items), expected[metric]["value"]), (metric, count, expected)
        assert right["acc"] >= 3, right
        plain = server.post("/tokenize", {"content": "<|im_end|>", "parse_special": False, "with_pieces": True})
        assert len(plain["tokens"]) > 1 and len(tokens("<|im_end|>")) == 1, plain
        assert "".join(token["piece"] for token in plain["tokens"]) == "<|im_end|>", plain


def errors() -> None:
    def refused(kind, call):
        try:
            call()
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} expected")

    with Server(environment={"EDGELLM_API_KEYS": "secret"}) as server:
        api = client(server, api_key="secret")
        chat = api.chat.completions.create
        refused(openai.AuthenticationError, client(server, api_key="wrong").models.list)
        missing = refused(openai.NotFoundError, lambda: chat(model="gpt-4", messages=ASK))
        assert missing.code == "model_not_found", missing
        hot = refused(openai.BadRequestError, lambda: chat(model=MODEL, messages=ASK, temperature=9))
        assert hot.param == "temperature", hot
        long = [{"role": "user", "content": "word " * 9000}]
        full = refused(openai.BadRequestError, lambda: chat(model=MODEL, messages=long))
        assert full.code == "context_length_exceeded", full
        assert chat(model=MODEL, messages=ASK, max_tokens=2).choices[0].message.content
    with Server("--rate-limit", "2") as server:
        api = client(server)
        limited = refused(openai.RateLimitError, lambda: [api.models.list() for _ in range(3)])
        assert int(limited.response.headers["retry-after"]) >= 1


def langchain() -> None:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    with Server() as server:
        common = {"base_url": server.url + "/v1", "api_key": "none", "model": MODEL}
        model = ChatOpenAI(**common, temperature=0, max_tokens=30, seed=1)
        answer = model.invoke(QUESTION)
        assert "Paris" in answer.content and answer.usage_metadata["output_tokens"] > 0, answer
        assert "".join(chunk.content for chunk in model.stream(QUESTION)) == answer.content
        bound = ChatOpenAI(**common, temperature=0, max_tokens=100).bind_tools([WEATHER], tool_choice="get_weather")
        calls = bound.invoke("How is the weather in Oslo?").tool_calls
        assert calls[0]["name"] == "get_weather" and set(calls[0]["args"]) == {"city"}, calls
        shaped = ChatOpenAI(**common, temperature=0, max_tokens=100).with_structured_output(
            {"title": "person", **PERSON}, method="json_schema"
        )
        assert set(shaped.invoke("Ada Lovelace was 36.")) == {"name", "age"}
        vectors = OpenAIEmbeddings(**common, check_embedding_ctx_length=False).embed_documents(["a", "b"])
        assert [len(vector) for vector in vectors] == [576, 576]


def llm_tool() -> None:
    with Server() as server, tempfile.TemporaryDirectory() as home:
        entry = f"- model_id: edge\n  model_name: {MODEL}\n  api_base: {server.url}/v1\n  api_key_name: none\n"
        Path(home, "extra-openai-models.yaml").write_text(entry)
        program = ROOT / ".venv" / "bin" / "llm"
        for more in ([], ["--no-stream"]):
            result = subprocess.run(
                [program, "-m", "edge", "-o", "max_tokens", "30", "-o", "temperature", "0", *more, QUESTION],
                check=False,
                env={**os.environ, "LLM_USER_PATH": home, "OPENAI_API_KEY": "none"},
                capture_output=True,
                text=True,
                timeout=within(60),
                stdin=subprocess.DEVNULL,
            )
            assert "Paris" in result.stdout, result


def javascript() -> None:
    with Server() as server:
        script = Path(__file__).with_name("client.mjs")
        command = ["node", script, server.url, MODEL]
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=within(120))
        assert result.returncode == 0, result.stderr
        deadline = time.monotonic() + within(5)
        while server.total("edgellm_active_sequences"):
            assert time.monotonic() < deadline, "the stream goes on after its client disconnected"
            time.sleep(0.05)


if __name__ == "__main__":
    run_tests(
        {
            "chat_and_stream": chat_and_stream,
            "tools": tools,
            "schemas": schemas,
            "embeddings_and_models": embeddings_and_models,
            "scoring": scoring,
            "errors": errors,
            "langchain": langchain,
            "llm_tool": llm_tool,
            "javascript": javascript,
        }
    )
