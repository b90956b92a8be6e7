"""Text to token ids and back: a task's own symbols, or a model's tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
  """What the rest of the package asks of a tokenizer."""

  vocab_size: int
  eos_id: int
  pad_id: int

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without any that begin or end a sequence."""

  def decode(self, ids: Sequence[int]) -> str:
    """The text of a response; the token that ended it is left out."""

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    """Ids of a prompt up to where the response begins."""


class SymbolTokenizer:
  """One token a symbol; a text is symbols with spaces between.

  Ids 0 and 1 are padding and end of sequence.
  """

  pad_id = 0
  eos_id = 1

  def __init__(self, symbols: Sequence[str]):
    self._symbols = ("<pad>", "<eos>", *symbols)
    self._ids = {symbol: i for i, symbol in enumerate(self._symbols)}
    if len(self._ids) != len(self._symbols):
      raise ValueError("a symbol is given twice")
    self.vocab_size = len(self._symbols)

  def encode(self, text: str) -> list[int]:
    """Raises ValueError at a symbol that is not in the vocabulary."""
    try:
      return [self._ids[symbol] for symbol in text.split()]
    except KeyError as error:
      raise ValueError(f"no symbol {error.args[0]!r} in {text!r}") from None

  def decode(self, ids: Sequence[int]) -> str:
    ids = list(ids)
    if ids and ids[-1] == self.eos_id:
      ids.pop()
    # A model's vocabulary may be padded past the symbols.
    known = len(self._symbols)
    return " ".join(self._symbols[i] if i < known else "<unk>" for i in ids)

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    """As `encode`: symbols have no chat template, so `system` is ignored."""
    del system
    return self.encode(prompt)


class TextTokenizer:
  """A Hugging Face tokenizer behind the `Tokenizer` interface."""

  def __init__(self, tokenizer):
    self._tokenizer = tokenizer
    self.vocab_size = len(tokenizer)
    self.eos_id = tokenizer.eos_token_id
    if self.eos_id is None:
      raise ValueError("the tokenizer names no end-of-sequence token")
    pad = tokenizer.pad_token_id
    self.pad_id = self.eos_id if pad is None else pad

  def encode(self, text: str) -> list[int]:
    return self._tokenizer.encode(text, add_special_tokens=False)

  def decode(self, ids: Sequence[int]) -> str:
    return self._tokenizer.decode(list(ids), skip_special_tokens=True)

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    if self._tokenizer.chat_template is None:
      text = f"{system}\n\n{prompt}" if system else prompt
      return self._tokenizer.encode(text)
    roles = [("system", system)] if system else []
    messages = [
      {"role": role, "content": content}
      for role, content in (*roles, ("user", prompt))
    ]
    return self._tokenizer.apply_chat_template(
      messages, add_generation_prompt=True, return_dict=False
    )


def load_tokenizer(path: str | Path) -> TextTokenizer:
  """The tokenizer of a local Hugging Face folder or of a GGUF file.

  Raises:
    ValueError: there is no tokenizer at `path`.
  """
  path = Path(path)
  if path.suffix == ".gguf":
    from jaxrl_entropy.data.gguf_tokenizer import from_gguf

    return TextTokenizer(from_gguf(path))
  if not path.is_dir():
    raise ValueError(f"no tokenizer at {path}: give a folder or a .gguf file")
  from transformers import AutoTokenizer

  try:
    return TextTokenizer(
      AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    )
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(f"cannot load a tokenizer from {path}: {error}") from error
