"""The Python blocks of README and guide run as they are printed."""

from pathlib import Path
import re

import jax
import pytest

from jaxrl_entropy.config import validate

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_blocks_run(page):
  names = {}
  for block in BLOCK.findall((ROOT / page).read_text()):
    with jax.numpy_dtype_promotion("standard"):
      exec(block, names)
  if page == "README.md":
    assert names["kl_cov"].needs == frozenset()
  else:
    config = names["get_config"]("kl_cov")
    validate.finalize(config)
    assert config.loss.name == "kl_cov"
    assert names["vowels"](type("Problem", (), {"answer": "2"}), "aha") == 1.0


@pytest.mark.parametrize(
  "page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_and_images_lead_somewhere(page):
  path = ROOT / page if page == "README.md" else ROOT / "docs" / page
  text = path.read_text()
  targets = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)|src=\"([^\"]+)\"", text)
  for target in (a or b for a, b in targets):
    if "://" not in target:
      assert (path.parent / target).exists(), f"{page}: {target}"
