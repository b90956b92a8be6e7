"""Text to token ids and back: a task's own symbols, or a model's tokenizer."""

from collections.abc import Iterable, Iterator, Sequence
import json
from pathlib import Path
from typing import Any, Protocol

from jaxrl_entropy.data.chat import DEFAULT, PromptFormat

_PROBE = (
  "The  7 + 12\u00a03  =?\n\n\tx_1 := [0.50, 1/2];  "
  "d\u00e9j\u00e0 vu, it 's\u2026 \u4e2d\u6587 "
)
"""Text that tokenizers cut differently: runs of spaces, digits, scripts."""


_FILES = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken")
"""Files of a vocabulary, at least one of which every tokenizer has."""


class Tokenizer(Protocol):
  """The interface of every tokenizer.

  Attributes:
    vocab_size: all ids are below this.
    eos_id: ends a response; appended to responses for SFT.
    stop_ids: every id that ends a response, `eos_id` first.
    pad_id: fills rows; may be `eos_id`.
  """

  vocab_size: int
  eos_id: int
  stop_ids: tuple[int, ...]
  pad_id: int

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without any that begin or end a sequence."""

  def decode(self, ids: Sequence[int]) -> str:
    """The text of a response; the token that ended it is left out."""

  def spell(self, ids: Sequence[int]) -> str:
    """The text of all ids, with the tokens that begin or end a turn."""

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    """Ids of a prompt up to where the response begins.

    Args:
      prompt: the question, before any chat template.
      system: the problem's own system message; None or "" if it has none.
    """


class SymbolTokenizer:
  """One token a symbol; a text is symbols with spaces between.

  Ids 0 and 1 are padding and end of sequence.
  """

  pad_id = 0
  eos_id = 1
  stop_ids: tuple[int, ...] = (1,)

  def __init__(self, symbols: Sequence[str]):
    self._symbols = ("<pad>", "<eos>", *symbols)
    self._ids = {symbol: i for i, symbol in enumerate(self._symbols)}
    if len(self._ids) != len(self._symbols):
      raise ValueError("a symbol is given twice")
    self.vocab_size = len(self._symbols)

  def encode(self, text: str) -> list[int]:
    """Returns the ids of the symbols of a text.

    Args:
      text: symbols with spaces between.

    Raises:
      ValueError: at a symbol that is not in the vocabulary.
    """
    try:
      return [self._ids[symbol] for symbol in text.split()]
    except KeyError as error:
      raise ValueError(f"no symbol {error.args[0]!r} in {text!r}") from None

  def decode(self, ids: Sequence[int]) -> str:
    ids = list(ids)
    if ids and ids[-1] == self.eos_id:
      ids.pop()
    return self.spell(ids)

  def spell(self, ids: Sequence[int]) -> str:
    # A model's vocabulary may be padded past the symbols.
    known = len(self._symbols)
    return " ".join(self._symbols[i] if i < known else "<unk>" for i in ids)

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    """Returns the ids of a prompt, which is given no template.

    Args:
      prompt: symbols with spaces between.
      system: is ignored.

    Raises:
      ValueError: at a symbol that is not in the vocabulary.
    """
    del system
    return self.encode(prompt)


class TextTokenizer:
  """A Hugging Face tokenizer behind the `Tokenizer` interface.

  Args:
    tokenizer: of transformers.
    stop_ids: ids that end a response beside the tokenizer's own.
    prompt_format: form of the prompts that `render` makes.

  Raises:
    ValueError: the tokenizer names no end-of-sequence token, or has no chat
      template where the format asks for one.
  """

  def __init__(
    self,
    tokenizer: Any,
    stop_ids: Iterable[int] = (),
    prompt_format: PromptFormat = DEFAULT,
  ):
    self._tokenizer, self._format = tokenizer, prompt_format
    if prompt_format.template == "chat" and tokenizer.chat_template is None:
      raise ValueError(
        "config.prompt.template is 'chat', and the tokenizer has no chat "
        "template: set it to 'none'"
      )
    # Added tokens may have ids beyond the count of tokens.
    self.vocab_size = max(tokenizer.get_vocab().values()) + 1
    self.eos_id = tokenizer.eos_token_id
    if self.eos_id is None:
      raise ValueError("the tokenizer names no end-of-sequence token")
    self.stop_ids = tuple(dict.fromkeys((self.eos_id, *stop_ids)))
    pad = tokenizer.pad_token_id
    self.pad_id = self.eos_id if pad is None else pad
    self._control = {*self.stop_ids, pad, tokenizer.bos_token_id}

  def encode(self, text: str) -> list[int]:
    return self._tokenizer.encode(text, add_special_tokens=False)

  def decode(self, ids: Sequence[int]) -> str:
    # Tags such as <think> may be special tokens; rewards read them.
    return self.spell([i for i in ids if i not in self._control])

  def spell(self, ids: Sequence[int]) -> str:
    return self._tokenizer.decode(
      list(ids), skip_special_tokens=False, spaces_between_special_tokens=False
    )

  def render(self, prompt: str, system: str | None = None) -> list[int]:
    form = self._format
    if form.template == "none" or self._tokenizer.chat_template is None:
      ids = self._tokenizer.encode(form.text(prompt, system))
      # Some tokenizers end every text; a prompt goes on.
      return ids[:-1] if ids and ids[-1] == self.eos_id else ids
    return self._tokenizer.apply_chat_template(
      form.messages(prompt, system),
      add_generation_prompt=True,
      return_dict=False,
      **form.template_variables(),
    )


def load_tokenizer(
  path: str | Path,
  weights: str | Path | None = None,
  prompt_format: PromptFormat = DEFAULT,
) -> TextTokenizer:
  """Loads the tokenizer of a local Hugging Face folder or of a GGUF file.

  Args:
    path: the folder or file.
    weights: the model's folder or file, whose `stop_ids` end a response too;
      by default `path`.
    prompt_format: form of the prompts that it renders.

  Raises:
    ValueError: there is no tokenizer at `path`, or it cannot be read as it is.
  """
  path = Path(path)
  if path.suffix == ".gguf":
    from jaxrl_entropy.data.gguf_tokenizer import from_gguf

    tokenizer = from_gguf(path)
  elif path.is_dir():
    tokenizer = _from_folder(path)
  else:
    raise ValueError(f"no tokenizer at {path}: give a folder or a .gguf file")
  return TextTokenizer(
    tokenizer, stop_ids(Path(weights or path)), prompt_format
  )


def stop_ids(path: Path) -> tuple[int, ...]:
  """Returns the ids that end a response according to a model's files.

  These are the `eos_token_id` (one or a list) of generation_config.json and of
  config.json in a Hugging Face folder, and the end-of-sequence, end-of-turn and
  end-of-message ids of a GGUF file.

  Args:
    path: a Hugging Face folder, or a `.gguf` file.
  """
  if path.suffix == ".gguf":
    from jaxrl_entropy.models.io.gguf_file import open_gguf

    metadata = open_gguf(path).metadata
    named = (
      metadata.get(f"tokenizer.ggml.{name}_token_id")
      for name in ("eos", "eot", "eom")
    )
    return _ids(named)
  return _ids(
    _entry(path / name, "eos_token_id")
    for name in ("generation_config.json", "config.json")
  )


def _entry(file: Path, key: str) -> Any:
  """Returns the value of a key in a JSON file, or None without either."""
  try:
    return json.loads(file.read_text(encoding="utf-8")).get(key)
  except (OSError, ValueError, AttributeError):
    return None


def _ids(entries: Iterable[Any]) -> tuple[int, ...]:
  def flat() -> Iterator[Any]:
    for entry in entries:
      yield from entry if isinstance(entry, list) else [entry]

  return tuple(dict.fromkeys(i for i in flat() if type(i) is int and i >= 0))


def _from_folder(path: Path) -> Any:
  """Loads a tokenizer that gives the ids of the folder's tokenizer.json.

  The class that tokenizer_config.json names may build a pipeline of its own
  from the vocabulary, with other ids, so it is used only without that file.
  """
  # From config.json alone transformers makes one with an empty vocabulary.
  if not any(file for pattern in _FILES for file in path.glob(pattern)):
    raise ValueError(
      f"{path} has no tokenizer: copy the model's tokenizer files into it "
      "(tokenizer.json and tokenizer_config.json), or set model.tokenizer to a "
      "folder that has them"
    )
  from transformers import AutoTokenizer, PreTrainedTokenizerFast

  exact = (path / "tokenizer.json").exists()
  kind = PreTrainedTokenizerFast if exact else AutoTokenizer
  try:
    tokenizer: Any = kind.from_pretrained(str(path), local_files_only=True)
  except (ImportError, OSError, KeyError, ValueError) as error:
    hint = ""
    if not exact and (path / "tokenizer.model").exists():
      hint = "; tokenizer.model needs the sentencepiece package"
    raise ValueError(
      f"cannot load a tokenizer from {path}: {error}{hint}"
    ) from error
  if exact:
    _check_ids(tokenizer, path / "tokenizer.json")
    if _entry(path / "tokenizer_config.json", "add_bos_token") is True:
      # transformers 5 leaves this to tokenizer.json, where it may be missing.
      tokenizer.add_bos_token = True
  return tokenizer


def _check_ids(tokenizer: Any, file: Path) -> None:
  from tokenizers import Tokenizer as FastTokenizer

  wanted = FastTokenizer.from_file(str(file))
  ids = wanted.encode(_PROBE, add_special_tokens=False).ids
  if tokenizer.encode(_PROBE, add_special_tokens=False) != ids:
    raise ValueError(
      f"{file}: this version of transformers gives other ids than the file; "
      "install transformers>=5.22"
    )
