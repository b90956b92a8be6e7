"""The tokenizer inside a GGUF file, as a Hugging Face fast tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import (
  AddedToken,
  Regex,
  Tokenizer,
  decoders,
  models,
  pre_tokenizers,
)
from transformers import PreTrainedTokenizerFast

from jaxrl_entropy.models.io.gguf_file import open_gguf

_CONTROL = 3  # token type: never part of a text
_USER_DEFINED = 4
_UNUSED = 5  # pads the vocabulary

# How a text is cut before byte pairs are merged, as llama.cpp names it:
# a pattern, or None for GPT-2's own; and whether digits are cut one by one.
_LLAMA = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS: dict[str, tuple[str | None, bool]] = {
  "default": (None, False),
  "gpt-2": (None, False),
  "smollm": (None, True),
  "llama-bpe": (_LLAMA, False),
  "qwen2": (_LLAMA.replace(r"\p{N}{1,3}", r"\p{N}"), False),
}


def from_gguf(path: Path) -> PreTrainedTokenizerFast:
  """Builds the byte-level BPE tokenizer that a GGUF file's metadata describe.

  Args:
    path: of the `.gguf` file, whose weights are not read.

  Raises:
    GgufError: the file is not GGUF.
    ValueError: its tokenizer is of another kind.
  """
  meta = {
    key.removeprefix("tokenizer."): value
    for key, value in open_gguf(path).metadata.items()
    if key.startswith("tokenizer.")
  }
  kind = meta.get("ggml.model"), meta.get("ggml.pre", "default")
  if kind[0] != "gpt2" or kind[1] not in _PATTERNS:
    raise ValueError(
      f"{path}: its tokenizer is {kind[0]}/{kind[1]}; supported are gpt2/"
      f"{', '.join(_PATTERNS)}: give the folder of its tokenizer.json instead"
    )
  names = meta["ggml.tokens"]
  llama = kind[1] == "llama-bpe"

  def name(role: str) -> str | None:
    index = meta.get(f"ggml.{role}_token_id")
    return None if index is None else names[index]

  return PreTrainedTokenizerFast(
    tokenizer_object=_byte_pairs(meta, *_PATTERNS[kind[1]], llama),
    bos_token=name("bos"),
    eos_token=name("eos"),
    pad_token=name("padding"),
    unk_token=name("unknown"),
    chat_template=meta.get("chat_template"),
    clean_up_tokenization_spaces=False,
    add_bos_token=bool(meta.get("ggml.add_bos_token", llama)),
  )


def _byte_pairs(
  meta: Mapping[str, Any],
  pattern: str | None,
  single_digits: bool,
  whole_words: bool,
) -> Tokenizer:
  """Builds the pipeline; `whole_words` are looked up before they are merged."""
  names, kinds = meta["ggml.tokens"], meta["ggml.token_type"]
  vocab = {
    token: index
    for index, (token, kind) in enumerate(zip(names, kinds, strict=True))
    if kind != _UNUSED
  }
  merges = [tuple(merge.split(" ", 1)) for merge in meta["ggml.merges"]]
  tokenizer = Tokenizer(
    models.BPE(vocab=vocab, merges=merges, ignore_merges=whole_words)
  )
  cuts: list[Any] = []
  if single_digits:
    cuts.append(pre_tokenizers.Digits(individual_digits=True))
  if pattern:
    cuts.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
  cuts.append(
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern)
  )
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
  tokenizer.decoder = decoders.ByteLevel()
  for kind, add in (
    (_CONTROL, tokenizer.add_special_tokens),
    (_USER_DEFINED, tokenizer.add_tokens),
  ):
    add(
      [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, its in zip(names, kinds, strict=True)
        if its == kind
      ]
    )
  return tokenizer
