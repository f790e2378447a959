"""`edgellm finetune` with a small model, from data to a measured file; what it refuses; what a kill leaves.

    PYTHON scripts/finetune/tests/test_command.py          in an environment with requirements.txt

EDGELLM names the program.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent.parent
sys.path.insert(0, str(Path(__file__).parent))

import small_model  # noqa: E402

EDGELLM = os.environ.get("EDGELLM", str(ROOT / "target/debug/edgellm"))


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.base = small_model.write(cls.folder / "base")
        cls.rows = cls.folder / "rows.jsonl"
        cls.rows.write_text("".join(json.dumps(row) + "\n" for row in small_model.rows()))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def command(self, output: str, *options: object, base: Path | None = None, data: Path | None = None) -> list[str]:
        command = [EDGELLM, "finetune", "--base-model", base or self.base, "--data", data or self.rows, "--output",
                   self.folder / output, "--max-tokens", 16, *options]  # fmt: skip
        return [str(part) for part in command]

    def run_command(self, *arguments, home: Path | None = None, **files) -> subprocess.CompletedProcess:
        env = os.environ | {"EDGELLM_HOME": str(home or self.folder / "home")}
        return subprocess.run(self.command(*arguments, **files), capture_output=True, text=True, check=False, env=env)

    def refused(self, done: subprocess.CompletedProcess, *words: str) -> None:
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        last = done.stderr.strip().splitlines()[-1]
        self.assertTrue(last.startswith("error: "), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for word in words:
            self.assertIn(word, last)

    def test_from_data_to_a_measured_file(self):
        training = [
            "--epochs",
            30,
            "--learning-rate",
            5e-3,
            "--rank",
            32,
            "--format",
            "int8",
            "--python",
            sys.executable,
        ]
        output = "whole.tmac2.bin"
        done = self.run_command(output, *training, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["base"]["exact_match"]["value"], 0)
        # Of rows that were not trained on: their answers cannot be guessed, only their form.
        self.assertLess(found["tuned"]["loss"], found["base"]["loss"] * 0.75)
        self.assertEqual(found["quantized"]["n"], found["tuned"]["n"])
        model = self.folder / output
        self.assertEqual(found["quantized"]["bytes"], model.stat().st_size)
        self.assertIn("24 rows of chat", done.stderr)
        self.assertIn("left", done.stderr)

        before = model.stat().st_mtime_ns
        self.refused(self.run_command(output, *training), "--resume")
        self.refused(self.run_command(output, *training, "--resume", "--seed", 1), "--seed 0, and not 1")
        again = self.run_command(output, *training, "--resume")
        self.assertEqual(again.returncode, 0, again.stderr)
        for words in ("exact match", "tuned, converted", f"edgellm serve --model {model}"):
            self.assertIn(words, again.stdout)
        self.assertEqual(model.stat().st_mtime_ns, before)

        adapter = self.folder / "whole.finetune/adapter"
        done = self.run_command("other", *training, "--adapter", adapter, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertAlmostEqual(json.loads(done.stdout)["tuned"]["loss"], found["tuned"]["loss"], delta=1e-3)
        self.assertTrue((self.folder / "other/other.tmac2.bin").exists())

    def test_training_in_the_bits_of_the_file(self):
        training = ["--epochs", 10, "--learning-rate", 5e-3, "--rank", 32, "--quantize", "int3", "--low-bit-steps", 30]
        done = self.run_command("low.tmac2.bin", *training, "--python", sys.executable, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("step 30 of 30", done.stderr)
        info = subprocess.run([EDGELLM, "info", "--model", self.folder / "low.tmac2.bin", "--tensors"],
                              capture_output=True, text=True, check=True)  # fmt: skip
        self.assertRegex(info.stdout, r"down_proj.weight .*3 bit-planes, affine, groups of 32")
        self.assertTrue((self.folder / "low.finetune/low-bit/model.safetensors").exists())

    def test_a_plan_writes_nothing(self):
        done = self.run_command("planned.tmac2.bin", "--dry-run", "--python", sys.executable)
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ("rows to train on", "steps, about", "GB of memory"):
            self.assertIn(words, done.stderr)
        self.assertEqual(list(self.folder.glob("planned*")), [])

    def test_bad_data_costs_no_download(self):
        home = self.folder / "untouched"
        bad = self.folder / "bad.jsonl"
        bad.write_text('{"q": "a", "a": "b"}\n')
        self.refused(self.run_command("bad.tmac2.bin", home=home, data=bad), "line 1", "columns q, a")
        self.refused(self.run_command("bad.tmac2.bin", home=home, data=self.folder / "none.jsonl"), "does not exist")
        self.assertFalse((home / "finetune/environment").exists())
        self.assertEqual(list(self.folder.glob("bad.*")), [bad])

    def test_what_is_refused_in_one_line(self):
        python = ["--python", sys.executable]
        missing = self.folder / "missing"
        self.refused(self.run_command("a.tmac2.bin", *python, base=missing), str(missing))
        self.refused(self.run_command("a.tmac2.bin", "--python", "/bin/false"), "--python /bin/false", "pip install")
        self.refused(self.run_command("a", "--only", "train", *python), "--only prepare")
        file = self.folder / "file"
        file.write_text("")
        self.refused(self.run_command("file", *python), "is a file")

    def test_a_kill_leaves_nothing_half_written(self):
        training = ["--epochs", 10, "--learning-rate", 5e-3, "--format", "int8", "--python", sys.executable]
        env = os.environ | {"EDGELLM_HOME": str(self.folder / "home")}
        output, work = self.folder / "killed.tmac2.bin", self.folder / "killed.finetune"
        for waited in ("data/plan.json", "training.json", "merged"):
            command = self.command("killed.tmac2.bin", *training, "--resume")
            child = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=env, start_new_session=True)
            while not (work / waited).exists() and child.poll() is None:
                time.sleep(0.02)
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            self.assertTrue((work / waited).exists(), waited)
            self.assertFalse(output.exists() and waited != "merged")
            if (work / "merged").exists():
                self.assertTrue((work / "merged/model.safetensors").exists() and (work / "merged/config.json").exists())
        done = self.run_command("killed.tmac2.bin", *training, "--resume", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["quantized"]["bytes"], output.stat().st_size)
        self.assertEqual([path for path in self.folder.rglob("*") if path.name.endswith(".draft")], [])


if __name__ == "__main__":
    unittest.main()
