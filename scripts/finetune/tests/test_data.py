"""Data that can be trained on, and a dozen kinds that cannot: one line each, before anything is trained."""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))

from kinds import EmptyAnswer, RowError, kind_of, normalized  # noqa: E402
from reading import MAX_ROW, DataError, rows  # noqa: E402


def chat(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def lines(*found: dict) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


class Data(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def prepare(self, path: Path | str, *options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, SCRIPTS / "prepare_dataset.py", "--data", path, "--json", *options]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)

    def refused(self, path: Path | str, *words: str, options: tuple = ()) -> str:
        done = self.prepare(path, *options)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        last = done.stderr.strip().splitlines()[-1]
        self.assertTrue(last.startswith("error: "), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        return done.stderr

    def plan(self, path: Path, *options: str) -> dict:
        done = self.prepare(path, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_kinds(self):
        kinds = {
            "chat": [
                chat("a", "b"),
                {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            ],
            "prompt and completion": [
                {"prompt": "a", "completion": "b"},
                {"question": "a", "answer": "b"},
                {"prompt": "a", "response": "b"},
                {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
            ],
            "instruction": [{"instruction": "a", "input": "", "output": "b"}, {"instruction": "a", "output": "b"}],
            "text": [{"text": "a"}],
        }
        for kind, found in kinds.items():
            for row in found:
                name, columns = kind_of(row)
                self.assertEqual(name, kind)
                shaped = normalized(row, columns)
                if kind == "chat" or isinstance(row.get("prompt"), list):
                    self.assertEqual([m["content"] for m in shaped["messages"]], ["a", "b"])
                elif kind != "text":
                    self.assertEqual((shaped["prompt"], shaped["completion"]), ("a", "b"))

    def test_an_instruction_comes_before_its_input(self):
        row = {"instruction": "Translate.", "input": "Hello", "output": "Hola"}
        self.assertEqual(normalized(row, kind_of(row)[1])["prompt"], "Translate.\n\nHello")

    def test_tools_and_turns_after_the_last_answer(self):
        row = chat("a", "b")
        row["messages"].append({"role": "user", "content": "c"})
        row["tools"] = json.dumps([{"type": "function", "function": {"name": "f"}}])
        shaped = normalized(row, frozenset({"messages"}))
        self.assertEqual(len(shaped["messages"]), 2)
        self.assertEqual(shaped["tools"][0]["function"]["name"], "f")

    def test_files_of_every_kind_give_the_same_rows(self):
        wanted = [{"prompt": 'größer, "quoted"\nzwei', "completion": "1"}, {"prompt": "b", "completion": "2"}]
        files = [
            self.file("a.jsonl", lines(*wanted)),
            self.file("a.json", json.dumps(wanted)),
            self.file("b.json", json.dumps({"data": wanted})),
            self.file("bom.jsonl", b"\xef\xbb\xbf" + lines(*wanted).encode()),
            self.file("a.csv", 'prompt,completion\n"größer, ""quoted""\nzwei",1\nb,2\n'),
            self.file("a.tsv", 'prompt\tcompletion\n"größer, ""quoted""\nzwei"\t1\nb\t2\n'),
        ]
        for path in files:
            self.assertEqual([row for _, row in rows(str(path))], wanted, path)

    def test_parquet(self):
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            self.skipTest("pyarrow is not installed here; the finetune section's environment has it")
        wanted = [{"prompt": "a", "completion": "b"}] * 3
        parquet.write_table(pyarrow.Table.from_pylist(wanted), self.folder / "a.parquet")
        self.assertEqual([row for _, row in rows(str(self.folder / "a.parquet"))], wanted)
        self.refused(self.file("b.parquet", b"no parquet at all"), "not a Parquet file")

    def test_what_is_left_out_is_said(self):
        found = [chat("a", "b"), chat("c", "d"), chat("a", "b"), chat("e", " "), chat("a", "other"), chat("f", "g")]
        path = self.file("a.jsonl", lines(*found))
        done = self.prepare(path)
        for words in ("duplicate: line 3", "empty answer: line 4", "lines 1 and 5 ask the same"):
            self.assertIn(words, done.stderr)
        plan = json.loads(done.stdout)
        self.assertEqual(plan["skipped"], {"duplicate": 1, "empty answer": 1})
        self.assertEqual((plan["rows"], plan["conflicts"]), (6, 1))

    def test_no_question_is_in_both_parts(self):
        found = [chat(f"question {index % 40}", f"answer {index}") for index in range(200)]
        path = self.file("a.jsonl", lines(*found))
        out = self.folder / "out"
        plan = self.plan(path, "--output", str(out), "--validation-share", "0.2")
        self.assertEqual((plan["train"], plan["validation"]), (160, 40))
        parts = [
            {json.loads(line)["messages"][0]["content"] for line in (out / f"{name}.jsonl").read_text().splitlines()}
            for name in ("train", "validation")
        ]
        self.assertFalse(parts[0] & parts[1])

    def test_a_leak_is_taken_out_of_training(self):
        path = self.file("a.jsonl", lines(chat("a", "b"), chat("c", "d")))
        other = self.file("b.jsonl", lines(chat("c", "d"), chat("e", "f")))
        done = self.prepare(path, "--evaluation-data", str(other))
        self.assertIn("leak: line 2", done.stderr)
        self.assertEqual(json.loads(done.stdout)["train"], 1)
        self.refused(other, "no row is left", options=("--evaluation-data", str(other)))

    def test_bad_files(self):
        good = lines(chat("a", "b"))
        self.refused(self.folder / "none.jsonl", "does not exist")
        self.refused(self.folder, "is a directory")
        self.refused(self.file("a.txt", good), "ending", ".jsonl")
        self.refused(self.file("empty.jsonl", ""), "is empty")
        self.refused(self.file("blank.jsonl", "\n\n"), "has no rows")
        self.refused(self.file("columns.jsonl", lines({"q": "a", "a": "b"})), "line 1", "columns q, a", "prompt")
        self.refused(self.file("both.jsonl", lines(chat("a", "b") | {"text": "c"})), "more than one kind")
        self.refused(self.file("latin.jsonl", good.encode() + '{"text": "Grüße"}'.encode("latin-1")), "line 2", "0xfc")
        self.refused(self.file("utf16.jsonl", good.encode("utf-16")), "UTF-16")
        self.refused(self.file("array.jsonl", json.dumps([chat("a", "b")])), "line 1", "array", ".json")
        self.refused(self.file("cut.jsonl", good + '{"messages": [{"role"'), "line 2", "not JSON", "character")
        self.refused(self.file("number.jsonl", good + "17\n"), "line 2", "no JSON object")
        self.refused(self.file("nan.jsonl", '{"prompt": NaN, "completion": "a"}\n'), "NaN is not JSON")
        self.refused(self.file("deep.jsonl", '{"text": ' + "[" * 100_000), "nested too deeply")
        self.refused(self.file("object.json", '{"a": 1}'), "not an array of rows")
        self.refused(self.file("wide.csv", "prompt,completion\na,b,c\n"), "line 2", "more values")
        self.refused(self.file("narrow.csv", "prompt,completion\na\n"), "line 2", "fewer values")
        self.refused(self.file("twice.csv", "prompt,prompt\na,b\n"), "line 1", "the same")
        self.refused("no-such-file.jsonl", "does not exist")

    def test_a_row_of_100_megabytes(self):
        path = self.folder / "long.jsonl"
        with path.open("w") as file:
            file.write('{"text": "')
            for _ in range(100):
                file.write("x" * 1_000_000)
            file.write('"}\n')
        self.refused(path, "line 1", f"longer than {MAX_ROW >> 20} MB")

    def test_bad_rows_are_named_all_and_can_be_left_out(self):
        bad = [
            {"messages": []},
            {"messages": [{"role": "user", "content": "a"}]},
            {"messages": [{"role": "assistant", "content": "a"}]},
            {"messages": [{"role": "robot", "content": "a"}]},
            {"messages": [{"role": "user", "content": 7}, {"role": "assistant", "content": "a"}]},
            {"messages": "no JSON"},
            {"messages": ["a"]},
            {"prompt": "a", "completion": "b"},
            {"other": 1},
        ]
        path = self.file("bad.jsonl", lines(chat("a", "b"), *bad, chat("c", "d")))
        said = self.refused(
            path, "9 of 11 rows", "--skip-bad-rows", "a row of prompt and completion among rows of chat"
        )
        for line in range(2, 11):
            self.assertIn(f"line {line}: ", said)
        plan = self.plan(path, "--skip-bad-rows", "--validation-share", "0")
        self.assertEqual((plan["train"], plan["bad"]), (2, 9))

    def test_reasons(self):
        for row, error, words in [
            ({"prompt": "a", "completion": None}, RowError, "completion is null"),
            ({"prompt": ["a"], "completion": "b"}, RowError, "completion is not"),
            ({"prompt": "a", "completion": ""}, EmptyAnswer, "completion is empty"),
        ]:
            with self.assertRaisesRegex(error, words):
                normalized(row, frozenset({"prompt", "completion"}))
        with self.assertRaises(DataError), contextlib.redirect_stderr(io.StringIO()):
            kind_of({})


if __name__ == "__main__":
    unittest.main()
