import pytest

from jaxrl_entropy.data.tokenizers import SymbolTokenizer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.rope import Rope
from jaxrl_entropy.training import weights
from tests.training.runs import load

LONGROPE = Rope(
  kind="longrope",
  factor=32.0,
  original_length=64,
  short_factors=(1.0,) * 16,
  long_factors=(2.0,) * 16,
)


@pytest.mark.parametrize(
  ("length", "long", "warns"),
  [("64", False, False), ("512", True, False), ("4096", True, True)],
)
def test_a_longer_context_has_the_long_frequencies(caplog, length, long, warns):
  model = preset("tiny", rope=LONGROPE, max_length=64)
  config = load("grpo", ("model.max_length", length))
  fitted = weights.fitted(model, config, SymbolTokenizer(("a", "b")))
  assert fitted.max_length == int(length)
  assert fitted.rope.long == long
  assert fitted.real_vocab_size == 4
  assert ("contexts of 2048 tokens" in caplog.text) == warns
