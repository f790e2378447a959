"""Whether a model fits into memory, before its weights are read."""

from pathlib import Path

from reading import DataError


def available() -> int | None:
    """Bytes of memory that programs can still have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(kilobytes) << 10 if kilobytes else None


def check(name: str, free: int | None) -> None:
    """Refuses a model whose weights alone, in float32, do not fit into `free` bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        weights = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name)).num_parameters()
    if free is not None and 4 * weights > free:
        raise DataError(
            f"{name} has {weights / 1e9:.2f} billion weights, which take {4 * weights / 1e9:.1f} GB in float32, "
            f"and {free / 1e9:.1f} GB of memory are available: take a smaller base model, or a machine with CUDA, "
            "where bases are loaded in 4 bits"
        )
