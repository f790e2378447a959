"""A small model, trained for real: labels, packing, resuming, merging, low-bit training, and the same in the engine.

    PYTHON scripts/finetune/tests/test_training.py          in an environment with requirements.txt

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

import numpy as np
import torch

SCRIPTS = Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent.parent
sys.path[:0] = [str(SCRIPTS), str(Path(__file__).parent)]

import small_model  # noqa: E402

import low_bit  # noqa: E402
import memory  # noqa: E402
from kinds import RowError  # noqa: E402
from reading import DataError  # noqa: E402
from tokens import IGNORED, Encoder, load_tokenizer  # noqa: E402

EDGELLM = os.environ.get("EDGELLM", str(ROOT / "target/debug/edgellm"))
# A text of which a window is half a page.
TEXT = (ROOT / "engine/quantize/calibration/heldout-prose.txt").read_text()[:6000]
CONTEXT = 256


def call(*command: object, expected: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != expected:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def python(script: str, *options: object, **how) -> subprocess.CompletedProcess:
    return call(sys.executable, "-W", "ignore", SCRIPTS / script, *options, **how)


def losses(folder: Path) -> dict[int, float]:
    """Training losses by step."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}


def window_logits(model, ids: list[int]) -> np.ndarray:
    """Logits of the second half of each window of CONTEXT tokens, as `edgellm perplexity` saves them."""
    found = []
    for at in range(0, len(ids) - CONTEXT + 1, CONTEXT):
        with torch.no_grad():
            logits = model(torch.tensor([ids[at : at + CONTEXT]])).logits[0].float()
        found.append(logits[CONTEXT // 2 : -1])
    return torch.cat(found).numpy()


def perplexity(model, ids: list[int]) -> float:
    logits = torch.tensor(window_logits(model, ids))
    windows = [ids[at : at + CONTEXT] for at in range(0, len(ids) - CONTEXT + 1, CONTEXT)]
    wanted = torch.tensor([token for window in windows for token in window[CONTEXT // 2 + 1 :]])
    return float(torch.nn.functional.cross_entropy(logits, wanted).exp())


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(2)
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.base = small_model.write(cls.folder / "base")
        cls.rows = cls.folder / "rows.jsonl"
        cls.rows.write_text("".join(json.dumps(row) + "\n" for row in small_model.rows()))
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        cls.data = cls.folder / "data"
        python("prepare_dataset.py", "--data", cls.rows, "--evaluation-data", cls.rows, "--model", cls.base,
               "--output", cls.folder / "none", expected=1)  # fmt: skip
        python("prepare_dataset.py", "--data", cls.rows, "--validation-share", 0, "--model", cls.base,
               "--output", cls.data)  # fmt: skip
        # The rows to learn are also those that are measured: does it learn at all?
        (cls.data / "validation.jsonl").write_text((cls.data / "train.jsonl").read_text())
        cls.tuned = cls.folder / "tuned"
        cls.options = ["--model", cls.base, "--data", cls.data, "--epochs", 30, "--learning-rate", 5e-3,
                       "--log-steps", 1, "--save-steps", 20, "--step-tokens", 256, "--rank", 32]  # fmt: skip
        python("train_qlora.py", *cls.options, "--output", cls.tuned)
        cls.merged = cls.folder / "merged"
        merge = SCRIPTS.parent / "quantize/merge_lora.py"
        call(sys.executable, merge, "--model", cls.base, "--adapter", cls.tuned / "adapter", "--output", cls.merged)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def ids(self) -> list[int]:
        return load_tokenizer(str(self.base))(TEXT)["input_ids"]

    def convert(self, folder: Path, *options: str) -> Path:
        model = self.folder / f"{folder.name}.tmac2.bin"
        call(EDGELLM, "quantize", "--input", folder, "--output", model, "--skip-quality", *options)
        return model

    def engine_perplexity(self, model: Path, *options: object) -> float:
        done = call(EDGELLM, "perplexity", "--model", model, "--text", self.text, "--context", CONTEXT,
                    "--precision", "high", "--json", *options)  # fmt: skip
        return json.loads(done.stdout)["perplexity"]

    def test_only_answers_have_labels(self):
        encoder = Encoder(load_tokenizer(str(self.base)))
        turns = [("system", "s"), ("user", "a"), ("assistant", "first"), ("user", "b"), ("assistant", "second")]
        row = {"messages": [{"role": role, "content": content} for role, content in turns]}
        (tokens,) = encoder.encode(row)
        learned = [label for label in tokens.labels if label != IGNORED]
        self.assertEqual(encoder.tokenizer.decode(learned), "first<|im_end|>second<|im_end|>")
        whole = encoder.render(row["messages"], None, False)
        self.assertEqual(encoder.tokenizer.decode(tokens.input_ids), whole.rstrip())
        self.assertEqual(encoder.prompt(row), whole[: whole.rindex("second")])

    def test_a_template_that_shows_past_answers_otherwise(self):
        tokenizer = load_tokenizer(str(self.base))
        # Thoughts are shown in the last answer alone, as Qwen3's template does.
        tokenizer.chat_template = tokenizer.chat_template.replace(
            "{{ message['content'] }}",
            "{{ message['content'] if loop.last or message['role'] != 'assistant' else 'short' }}",
        )
        encoder = Encoder(tokenizer)
        turns = [("user", "a"), ("assistant", "first"), ("user", "b"), ("assistant", "second")]
        found = encoder.encode({"messages": [{"role": role, "content": content} for role, content in turns]})
        learned = [tokenizer.decode([label for label in each.labels if label != IGNORED]) for each in found]
        self.assertEqual(learned, ["first<|im_end|>", "second<|im_end|>"])
        self.assertIn("short", tokenizer.decode(found[1].input_ids))

    def test_a_template_that_cannot_render(self):
        template = self.folder / "strict.jinja"
        template.write_text("{{ raise_exception('only one turn') }}")
        done = python(
            "prepare_dataset.py", "--data", self.rows, "--model", self.base, "--template", template, expected=1
        )
        self.assertIn("line 1: the model's chat template cannot render it: only one turn", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        tokenizer = load_tokenizer(str(self.base))
        tokenizer.chat_template = None
        with self.assertRaisesRegex(RowError, "--template"):
            Encoder(tokenizer).encode(small_model.rows()[0])

    def test_rows_longer_than_the_context_are_left_out(self):
        done = python("prepare_dataset.py", "--data", self.rows, "--model", self.base, "--max-length", 42)
        self.assertRegex(done.stderr, r"longer than 42 tokens: lines \d+")
        python("prepare_dataset.py", "--data", self.rows, "--model", self.base, "--max-length", 8, expected=1)

    def test_packed_rows_do_not_see_each_other(self):
        from transformers import AutoModelForCausalLM
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

        model = AutoModelForCausalLM.from_pretrained(self.merged, dtype=torch.float32).eval()
        encoder = Encoder(load_tokenizer(str(self.base)))
        found = [encoder.encode(row)[0] for row in small_model.rows()[:5]]
        alone = 0.0
        for row in found:
            logits = model(torch.tensor([row.input_ids])).logits[0, :-1]
            alone += torch.nn.functional.cross_entropy(logits, torch.tensor(row.labels[1:]), reduction="sum").item()
        collator = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
        packed = collator([{"input_ids": row.input_ids, "labels": row.labels} for row in found])
        labels = packed.pop("labels")[0]
        # As the trainer calls it: with a cache the rows would see each other.
        logits = model(**packed, use_cache=False).logits[0, :-1]
        together = torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum").item()
        self.assertGreater(alone, 0)
        self.assertAlmostEqual(together / alone, 1, delta=1e-4)

    def test_the_loss_falls_by_half(self):
        found = losses(self.tuned)
        first, last = found[min(found)], found[max(found)]
        self.assertLess(last, first / 2)
        plan = python("train_qlora.py", *self.options, "--output", self.folder / "planned", "--plan", "--json")
        planned = json.loads(plan.stdout.splitlines()[-1])
        self.assertEqual(planned["steps"], max(found))
        self.assertFalse((self.folder / "planned" / "adapter").exists())

    def test_an_interrupted_run_ends_with_the_same_losses(self):
        output = self.folder / "interrupted"
        command = [sys.executable, "-W", "ignore", SCRIPTS / "train_qlora.py", *self.options, "--output", output]
        child = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
        while not (output / "checkpoints/checkpoint-20/trainer_state.json").exists() and child.poll() is None:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate()
        self.assertEqual(child.returncode, 130, said)
        self.assertIn("--resume", said)
        reached = max(losses(output))
        self.assertLess(reached, max(losses(self.tuned)))
        done = python("train_qlora.py", *self.options, "--output", output, expected=1)
        self.assertIn("--resume", done.stderr)
        python("train_qlora.py", *self.options, "--output", output, "--resume")
        whole, resumed = losses(self.tuned), losses(output)
        self.assertEqual(sorted(whole), sorted(resumed))
        for step, loss in whole.items():
            self.assertAlmostEqual(loss, resumed[step], delta=1e-3 * max(1, loss), msg=f"step {step} of {reached}")

    def test_tuned_weights_are_in_the_file(self):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.merged, dtype=torch.float32).eval()
        base = AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32).eval()
        saved = self.folder / "logits.f32"
        self.engine_perplexity(self.convert(self.merged, "--format", "int8"), "--save-logits", saved)
        given = np.fromfile(saved, np.float32).reshape(-1, model.config.vocab_size)
        ids = self.ids()

        def divergence(model) -> float:
            wanted = torch.tensor(window_logits(model, ids)).log_softmax(-1)
            found = torch.tensor(given).log_softmax(-1)
            return float((wanted.exp() * (wanted - found)).sum(-1).mean())

        self.assertLess(divergence(model), 0.002)
        self.assertGreater(divergence(base), 0.02)

    def test_answers_are_scored_as_by_the_engine(self):
        done = python(
            "evaluate.py", "--model", self.merged, "--data", self.data / "validation.jsonl", "--max-tokens", 16
        )
        here = json.loads(done.stdout.splitlines()[-1])
        model = self.convert(self.merged, "--format", "int8")
        rows = self.data / "validation.jsonl"
        command = [EDGELLM, "evaluate", "--model", model, "--questions", rows, "--max-tokens", 16, "--json"]
        done = call(*command, "--precision", "high")
        there = json.loads(done.stdout)["questions"]
        self.assertGreater(here["exact_match"]["value"], 0.5)
        self.assertAlmostEqual(here["exact_match"]["value"], there["exact_match"]["value"], delta=0.05)
        self.assertAlmostEqual(here["bleu"], there["bleu"], delta=5)
        base = python("evaluate.py", "--model", self.base, "--data", self.data / "validation.jsonl", "--max-tokens", 16)
        self.assertEqual(json.loads(base.stdout.splitlines()[-1])["exact_match"]["value"], 0)

    def test_adapters_are_checked(self):
        merge = SCRIPTS.parent / "quantize/merge_lora.py"
        output = self.folder / "never"
        done = call(sys.executable, merge, "--adapter", self.base, "--output", output, expected=1)
        self.assertIn("adapter_config.json is missing", done.stderr)
        done = call(sys.executable, merge, "--adapter", self.tuned / "adapter", "--output", self.merged, expected=1)
        self.assertIn("there already", done.stderr)
        self.assertFalse(output.exists())

    def test_a_model_that_does_not_fit_into_memory(self):
        from transformers import AutoModelForCausalLM

        weights = AutoModelForCausalLM.from_pretrained(self.base).num_parameters()
        memory.check(str(self.base), 4 * weights)
        memory.check(str(self.base), None)
        with self.assertRaisesRegex(DataError, "GB of memory are available: take a smaller"):
            memory.check(str(self.base), 4 * weights - 1)
        free = memory.available()
        self.assertTrue(free is None or free > 1 << 20)

    def test_low_bit_training_is_kept_bit_for_bit(self):
        ids = self.ids()
        for kind in ("int3", "int2", "bitnet"):
            with self.subTest(kind):
                output = self.folder / kind
                options = ["--kind", kind, "--steps", 40, "--learning-rate", 1e-3, "--hard", 1, "--output", output]
                done = python("train_low_bit.py", "--model", self.merged, "--data", self.text, *options)
                result = json.loads(done.stdout.splitlines()[-1])
                self.assertEqual(result["steps"], 40)
                log = json.loads((output / "training.json").read_text())
                self.assertLess(log[-1]["loss"], log[0]["loss"])
                trained = perplexity(low_bit.load(output).eval(), ids)
                there = self.engine_perplexity(self.convert(output, "--head", "int8"))
                self.assertAlmostEqual(there / trained, 1, delta=0.005)

    def test_packed_codes_come_back(self):
        for bits in (2, 3):
            codes = torch.randint(0, 2**bits, (96, 5))
            words = low_bit.packed(codes, bits)
            self.assertEqual(words.shape, (96 * bits // 32, 5))
            self.assertTrue(torch.equal(low_bit.unpacked(words, bits), codes))


if __name__ == "__main__":
    unittest.main()
