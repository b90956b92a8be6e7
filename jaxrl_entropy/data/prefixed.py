"""A tokenizer whose prompts begin with the ids of a soft prefix."""

from collections.abc import Sequence

from jaxrl_entropy.data.tokenizers import Tokenizer


class PrefixedTokenizer:
  """Puts ids in front of every prompt of another tokenizer.

  Args:
    tokenizer: renders the prompts.
    prefix: the ids, which no text has.
  """

  def __init__(self, tokenizer: Tokenizer, prefix: range):
    self._tokenizer, self._prefix = tokenizer, prefix
    self.vocab_size = tokenizer.vocab_size
    self.eos_id = tokenizer.eos_id
    self.stop_ids = tokenizer.stop_ids
    self.pad_id = tokenizer.pad_id

  def encode(self, text: str) -> list[int]:
    return self._tokenizer.encode(text)

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of a response."""
    return self._tokenizer.decode(self._without_prefix(ids))

  def spell(self, ids: Sequence[int]) -> str:
    """Returns the text of all ids that have one."""
    return self._tokenizer.spell(self._without_prefix(ids))

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    """Returns the ids of the prefix and of a prompt.

    Args:
      prompt: the question, before any chat template.
      system: the problem's own system message; None or "" if it has none.
    """
    return [*self._prefix, *self._tokenizer.render(prompt, system)]

  def _without_prefix(self, ids: Sequence[int]) -> list[int]:
    return [i for i in ids if i not in self._prefix]
