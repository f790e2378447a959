#!/usr/bin/env python3
"""A Python program that runs a language model in a sandbox. It needs the package `wasmtime` (50 or newer).

host.py COMPONENT MODEL QUESTION
"""

import sys
from pathlib import Path

from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

INTERFACE = "edgellm:inference/inference@0.1.0"


def record(**fields) -> Record:
    """A WIT record: context_length=None sets the field context-length."""
    made = Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


class Guest:
    """The component's functions: `guest("[static]model.open", path)`. The component can only read `folder`."""

    def __init__(self, component: str, folder: Path, memory: int):
        engine = Engine(Config())
        component = Component.from_file(engine, component)
        wasi = WasiConfig()
        wasi.preopen_dir(str(folder), ".", fs_mutable=False)
        self.store = Store(engine)
        self.store.set_limits(memory_size=memory)
        self.store.set_wasi(wasi)
        linker = Linker(engine)
        linker.add_wasip2()
        # This host provides a directory, not files through `host-files`.
        linker.define_unknown_imports_as_traps(component)
        self.instance = linker.instantiate(self.store, component)
        self.interface = self.instance.get_export_index(self.store, INTERFACE)

    def __call__(self, function: str, *arguments):
        index = self.instance.get_export_index(self.store, function, self.interface)
        call = self.instance.get_func(self.store, index)
        result = call(self.store, *arguments)
        call.post_return(self.store)
        tag = result.tag if isinstance(result, Variant) else None
        value = result.payload if tag in ("ok", "err") else result
        if isinstance(value, Record) and hasattr(value, "message") and hasattr(value, "code"):
            raise RuntimeError(f"{value.code}: {value.message}")
        return value


def session_options(**given) -> Record:
    return record(**{"context_length": None, "precision": None, "kv_cache": None, **given})


def sampler_options(**given) -> Record:
    names = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty"]
    names += ["presence_penalty", "frequency_penalty", "seed"]
    return record(**{**dict.fromkeys(names), **given})


def generate_options(max_tokens: int, **sampler) -> Record:
    sampler = sampler_options(**sampler)
    return record(sampler=sampler, max_tokens=max_tokens, stop=[], ignore_eos=False, logprobs=False)


def main() -> None:
    component, model, question = sys.argv[1:]
    path = Path(model)
    guest = Guest(component, path.parent, memory=512 << 20)
    model = guest("[static]model.open", path.name)
    info = guest("[method]model.info", model)
    print(f"{info.name} on {info.kernels}")
    session = guest("[static]session.create", model, session_options())
    prompt = Variant("chat", [record(role="user", content=question)])
    generation = guest("[method]session.generate", session, prompt, generate_options(100))
    while token := guest("[method]generation.next", generation):
        print(token.text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
