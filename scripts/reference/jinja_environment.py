"""Jinja as Hugging Face transformers configures it for chat templates; needs jinja2 3.1."""

import json
from datetime import UTC, datetime
from typing import ClassVar

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Refused(TemplateError):
    """The template called `raise_exception`."""


class Generation(Extension):
    """The tag that marks the assistant's text in training; it renders its body."""

    tags: ClassVar = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def environment(now=None):
    """The environment; with `now`, seconds since 1970, templates have `strftime_now`."""
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def raise_exception(message):
        raise Refused(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    if now is not None:
        env.globals["strftime_now"] = lambda f: datetime.fromtimestamp(now, UTC).strftime(f)
    return env


def rendered(case):
    """What a case should give: `{"text": ...}`, `{"refused": ...}` or `{"error": ...}`."""
    variables = {
        "messages": case["messages"],
        "tools": case.get("tools") or None,
        "documents": None,
        "add_generation_prompt": case.get("add_generation_prompt", False),
        "bos_token": case.get("bos", ""),
        "eos_token": case.get("eos", ""),
    }
    try:
        return {"text": environment(case.get("now")).from_string(case["template"]).render(variables)}
    except Refused as error:
        return {"refused": str(error.message)}
    except Exception as error:  # A template may fail with any of Python's errors.
        return {"error": f"{type(error).__name__}: {error}"}
