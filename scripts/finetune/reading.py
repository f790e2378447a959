"""Rows of a data set, each with its place in the file: JSON, JSON lines, CSV, Parquet, or of the Hugging Face hub.

What cannot be read is a `DataError`, one line that says where and what to do.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

# A row is a conversation or a document: what is longer is a file that was taken for a row.
MAX_ROW = 4 << 20
# Enough for any training set that a person checks; the rows are held in memory.
MAX_FILE = 4 << 30
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}

Row = tuple[str, dict]


class DataError(Exception):
    """What is wrong with the data, in one line."""


def rows(source: str, split: str = "train") -> Iterator[Row]:
    """Places ("line 3", "row 3") and rows of a file, or of a data set of the hub (OWNER/NAME[:CONFIGURATION])."""
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{source} is a directory: give a file, or the name of a data set of the Hugging Face hub")
    if not path.exists():
        yield from hub_rows(source, split)
        return
    kind = ENDINGS.get(path.suffix.lower())
    if kind is None:
        endings = ", ".join(ENDINGS)
        raise DataError(f"{source}: the ending does not say what it is; there are {endings}")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{source} is empty")
    if size > MAX_FILE:
        raise DataError(f"{source} has {size:,} bytes, and {MAX_FILE:,} are the limit: train on a part of it")
    reader = {"jsonl": json_lines, "json": json_array, "csv": csv_rows, "tsv": csv_rows, "parquet": parquet_rows}[kind]
    yield from reader(path)


def prepared(path: Path) -> list[dict]:
    """The rows of a file that prepare_dataset.py wrote."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not what prepare_dataset.py writes: {error}") from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines as UTF-8, without a byte order mark."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_ROW + 1):
            number += 1
            if len(line) > MAX_ROW:
                raise DataError(f"{path}, line {number}: longer than {MAX_ROW >> 20} MB; is this one row a line?")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise DataError(f"{path} is UTF-16: save it as UTF-8")
            try:
                yield number, line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise DataError(
                    f"{path}, line {number}: byte 0x{byte:02x} is not UTF-8 (Latin-1, perhaps): save the file as UTF-8"
                ) from None


def parse(text: str, place: str) -> object:
    def refuse(name: str) -> None:
        raise DataError(f"{place}: {name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise DataError(f"{place}: nested too deeply") from None


def json_lines(path: Path) -> Iterator[Row]:
    for number, line in text_lines(path):
        if not line.strip():
            continue
        place = f"line {number}"
        if line.lstrip().startswith("["):
            raise DataError(
                f"{path}, {place} begins a JSON array: write one object a line, or give the file the ending .json"
            )
        row = parse(line, f"{path}, {place}")
        if not isinstance(row, dict):
            raise DataError(f"{path}, {place} is no JSON object: {line.strip()[:60]}")
        yield place, row


def json_array(path: Path) -> Iterator[Row]:
    text = "".join(line for _, line in whole_lines(path))
    found = parse(text, str(path))
    if isinstance(found, dict):
        lists = [key for key, value in found.items() if isinstance(value, list)]
        if len(lists) != 1:
            raise DataError(f"{path} is a JSON object and not an array of rows")
        found = found[lists[0]]
    if not isinstance(found, list):
        raise DataError(f"{path} is no JSON array of rows")
    for index, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {index} is no JSON object: {str(row)[:60]}")
        if len(json.dumps(row)) > MAX_ROW:
            raise DataError(f"{path}, row {index}: longer than {MAX_ROW >> 20} MB")
        yield f"row {index}", row


def whole_lines(path: Path) -> Iterator[tuple[int, str]]:
    """As `text_lines`, for a file that may be one line."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        yield 1, data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None


def csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_ROW)
    lines = (line for _, line in text_lines(path))
    reader = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    try:
        names = reader.fieldnames or []
        if len(names) != len(set(names)) or not all(names):
            raise DataError(f"{path}, line 1: the columns have no names, or two have the same: {', '.join(names)}")
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row:
                raise DataError(f"{path}, {place} has more values than the {len(names)} columns of the first line")
            if None in row.values():
                raise DataError(f"{path}, {place} has fewer values than the {len(names)} columns of the first line")
            yield place, row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def parquet_rows(path: Path) -> Iterator[Row]:
    pyarrow, parquet = library("pyarrow", "pyarrow.parquet")
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {str(error).splitlines()[0]}") from None


def hub_rows(source: str, split: str) -> Iterator[Row]:
    name, _, configuration = source.partition(":")
    known = all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in name.split("/"))
    if Path(name).suffix.lower() in ENDINGS or name.count("/") != 1 or not known:
        raise DataError(f"{source} does not exist; a data set of the Hugging Face hub is named OWNER/NAME")
    (datasets,) = library("datasets")
    try:
        found = datasets.load_dataset(name, configuration or None, split=split)
    except Exception as error:  # The library raises errors of many kinds.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{source}: no such file, and not to be had from the Hugging Face hub: {reason}") from None
    for index, row in enumerate(found, 1):
        yield f"row {index}", row


def library(*names: str) -> list:
    """Modules that only some kinds of files need."""
    import importlib

    try:
        return [importlib.import_module(name) for name in names]
    except ImportError:
        raise DataError(f"this kind of data needs the Python package {names[0]}: pip install {names[0]}") from None
