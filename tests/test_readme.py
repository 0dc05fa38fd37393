"""README's Python runs as it stands, and type checkers find nothing in it."""

import re
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
# What README takes from the reader: outputs and inputs of a model's last layer.
GIVEN = """
import torch
head = torch.nn.Linear(5, 3)
seeded = torch.Generator().manual_seed(0)
train_features, train_logits = (torch.randn(20, n, generator=seeded) for n in (5, 3))
pool_features, pool_logits = (torch.randn(200, n, generator=seeded) for n in (5, 3))
eval_features, eval_logits = (torch.randn(30, n, generator=seeded) for n in (5, 3))
"""


def test_readme_runs():
    torch.manual_seed(0)
    names = {}
    exec(GIVEN, names)
    given = names.pop("torch")  # README imports what it uses
    for block in BLOCKS:
        exec(block, names)
    assert names["torch"] is given
    assert 0 <= int(names["best"]) < 200
    assert len(names["batch"].indices) == 100


def test_readme_is_clean_to_mypy(tmp_path):
    source = tmp_path / "readme.py"
    source.write_text("\n".join([GIVEN, *BLOCKS]))
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", str(source)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
