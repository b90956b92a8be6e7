"""The Python blocks of docs/sampling.md, run in order as one program."""

from pathlib import Path
import re

PAGE = Path(__file__).parents[2] / "docs" / "sampling.md"


def test_the_examples_run():
  blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  assert len(blocks) >= 4
  exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
