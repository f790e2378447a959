#!/usr/bin/env python3
"""Schemas, patterns and stops made to cost: another client is served all along, and memory stays within bounds."""

import json
import threading
import time
import urllib.error
from collections.abc import Callable

from process import Server, others_are_served, run_tests, within


def ask(**more) -> dict:
    return {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, **more}


def send(server: Server, body: dict) -> tuple[int, str]:
    """Status and message of a response, which must come soon."""
    start = time.monotonic()
    try:
        server.post("/v1/chat/completions", body, timeout=60)
        status, message = 200, ""
    except urllib.error.HTTPError as error:
        status, message = error.code, json.load(error)["error"]["message"]
    waited = time.monotonic() - start
    assert waited < within(10), f"{status} {message} after {waited:.1f} s"
    return status, message


def at_once(server: Server, bodies: list[dict], allowed: tuple[int, ...]) -> None:
    """All requests at the same time; none may get another status."""
    answers: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda body=body: answers.append(send(server, body))) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(bodies), "a request got no answer"
    assert all(status in allowed for status, _ in answers), answers
    assert not any("panic" in message or "lexer" in message for _, message in answers), answers


def refused(server: Server, schemas: list[dict], limit: str) -> None:
    """Each schema is refused by name of the limit."""
    for schema in schemas:
        status, message = send(server, ask(json_schema=schema))
        assert status == 400 and limit in message, (status, message)


def chain(length: int, link: Callable[[dict], dict]) -> dict:
    """Definitions of which each refers to the next."""
    definitions = {f"d{at}": link({"$ref": f"#/$defs/d{at + 1}"}) for at in range(1, length)}
    return {"$ref": "#/$defs/d1", "$defs": {**definitions, f"d{length}": {"type": "integer"}}}


def chains_of_references() -> None:
    """Recursion in the grammar library ended the process."""
    links: list[Callable[[dict], dict]] = [
        lambda to: to,
        lambda to: {**to, "description": "x"},
        lambda to: {"type": "array", "items": to},
        lambda to: {"anyOf": [to, {"type": "null"}]},
        lambda to: {"type": "object", "properties": {"a": to}, "required": ["a"]},
        lambda to: {"allOf": [to, {"minimum": 0}]},
        lambda to: {"additionalProperties": to},
    ]
    with Server() as server, others_are_served(server):
        for length in (1000, 8000):
            refused(server, [chain(length, link) for link in links], "500 levels")
        # At the limit they compile, or are refused for another reason.
        at_once(server, [ask(json_schema=chain(250, link)) for link in links], (200, 400))


def schemas_that_multiply() -> None:
    """A few hundred bytes that stood for gigabytes."""

    def both(to: dict) -> dict:
        return {"type": "object", "properties": {"a": {**to, "minProperties": 0}, "b": {**to, "minProperties": 0}}}

    choices = [{"anyOf": [{"properties": {f"a{at}": {}}}, {"properties": {f"b{at}": {}}}]} for at in range(40)]
    optional = {f"p{at}": {"type": "null"} for at in range(300)}
    counted = {"type": "object", "properties": optional, "minProperties": 1, "additionalProperties": False}
    with Server() as server, others_are_served(server):
        refused(server, [chain(40, both), {"allOf": choices}, counted], "at most")


def automata_that_explode() -> None:
    """Patterns and multiples."""
    text = {"type": "string"}
    bad = [
        {**text, "pattern": "[^ab]*" * 20_000},
        {"type": "integer", "multipleOf": 99_999_989},
        {"type": "number", "multipleOf": 1e-7},
        {"type": "integer", "allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}]},
        {**text, "allOf": [{"pattern": f"a{{{at}}}b[a-z]*"} for at in range(50)]},
    ]
    within_limits = [
        "^(a{1000}){1000}$",
        "[^ab]*" * 150,
        "a.{1000}b",
        "[a-m].{50}[a-f].{50}",
        "^((a|b|ab){0,1000}){0,1000}$",
    ]
    with Server() as server, others_are_served(server):
        refused(server, bad, "at most")
        schemas = [{"type": "array", "items": {**text, "pattern": pattern}, "minItems": 1} for pattern in within_limits]
        bodies = [ask(json_schema=schema, max_tokens=60, temperature=1) for schema in schemas]
        at_once(server, bodies, (200, 400))


def many_answers_of_much() -> None:
    """Grammars, stops and biases were copied for each of 128 answers."""
    words = [f"{at}" + "x" * 90 for at in range(9000)]
    stops = [chr(ord("a") + at) * 250_000 for at in range(16)]
    with Server("--parallel", "8") as server, others_are_served(server, seconds=4):
        refused(server, [{"enum": [word * 30 for word in words[:1000]]}], "at most")
        assert send(server, ask(stop=stops))[0] == 400
        for more in (
            {"json_schema": {"enum": words}},
            {"stop": [stop[:1024] for stop in stops]},
            {"logit_bias": {str(at): -1 for at in range(40_000)}},
        ):
            at_once(server, [ask(n=128, max_tokens=1, **more)], (200, 400, 503))


TESTS = {
    "references": chains_of_references,
    "multiplying": schemas_that_multiply,
    "automata": automata_that_explode,
    "copies": many_answers_of_much,
}

if __name__ == "__main__":
    run_tests(TESTS)
