"""The notebooks' code cells, from top to bottom, with a small model.

    PYTHON scripts/finetune/tests/test_notebooks.py          in an environment with requirements.txt

EDGELLM names the program.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent.parent
sys.path.insert(0, str(Path(__file__).parent))

import small_model  # noqa: E402

EDGELLM = os.environ.get("EDGELLM", str(ROOT / "target/debug/edgellm"))


class Notebooks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.base = small_model.write(self.folder / "base")

    def execute(self, name: str, **environment: object) -> str:
        """What the cells print."""
        notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        self.assertEqual(notebook["nbformat"], 4)
        for cell in notebook["cells"]:
            self.assertEqual(cell.get("outputs", []), [], "outputs are not committed")
        code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
        settings = {name: str(value) for name, value in environment.items()}
        given = {"EDGELLM": EDGELLM, "EDGELLM_REPOSITORY": str(ROOT), "EDGELLM_HOME": str(self.folder / "home")}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                              cwd=self.folder, env=os.environ | given | settings)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        return done.stdout

    def test_quickstart(self):
        printed = self.execute("quickstart", EDGELLM_NOTEBOOK_BASE=self.base)
        self.assertRegex(printed, r"\{'colour': '(red|green|blue)', 'number': [123]\}")

    def test_finetune_colab(self):
        rows = self.folder / "rows.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in small_model.rows()))
        printed = self.execute(
            "finetune_colab",
            EDGELLM_NOTEBOOK_BASE=self.base,
            EDGELLM_NOTEBOOK_DATA=rows,
            EDGELLM_NOTEBOOK_EPOCHS=2,
            EDGELLM_NOTEBOOK_WORK=self.folder / "work",
        )
        self.assertIn("exact match", printed)
        self.assertTrue((self.folder / "work/tuned.tmac2.bin").exists())


if __name__ == "__main__":
    unittest.main()
