"""Symbols, Hugging Face folders and GGUF files as tokenizers."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from jaxrl_entropy import gguf
from jaxrl_entropy.data.tokenizers import SymbolTokenizer, load_tokenizer

TEMPLATE = (
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<answer>"
)


def test_symbols_there_and_back():
  tokenizer = SymbolTokenizer(("=", "+", "1", "2"))
  ids = tokenizer.encode("1 + 2 =")
  assert ids == [4, 3, 5, 2]
  assert tokenizer.render("1 + 2 =", "be brief") == ids
  assert tokenizer.decode([*ids, tokenizer.eos_id]) == "1 + 2 ="
  assert tokenizer.vocab_size == 6
  # An end in the middle, padding and ids beyond the symbols stay visible.
  assert tokenizer.decode([1, 0, 4, 99]) == "<eos> <pad> 1 <unk>"


def test_unknown_and_repeated_symbols_are_refused():
  with pytest.raises(ValueError, match="'3'"):
    SymbolTokenizer(("1",)).encode("1 3")
  with pytest.raises(ValueError, match="twice"):
    SymbolTokenizer(("1", "1"))


@pytest.fixture
def folder(tmp_path):
  words = {"<eos>": 0, "<user>": 1, "<system>": 2, "<answer>": 3, "hi": 4}
  raw = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
  raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  fast = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>")
  fast.add_special_tokens(
    {"additional_special_tokens": ["<user>", "<system>", "<answer>"]}
  )
  fast.chat_template = TEMPLATE
  fast.save_pretrained(tmp_path)
  return tmp_path


def test_a_folder_with_a_chat_template(folder):
  tokenizer = load_tokenizer(folder)
  assert tokenizer.encode("hi hi") == [4, 4]
  assert tokenizer.render("hi") == [1, 4, 3]
  assert tokenizer.render("hi", system="hi") == [2, 4, 1, 4, 3]
  assert tokenizer.decode([4, 0]) == "hi"
  assert (tokenizer.vocab_size, tokenizer.eos_id, tokenizer.pad_id) == (5, 0, 0)


def test_a_missing_tokenizer_is_named(tmp_path):
  for path in (tmp_path / "no", tmp_path):
    with pytest.raises(ValueError, match=str(path)):
      load_tokenizer(path)


def test_the_tokenizer_of_a_gguf_file():
  try:
    path = gguf.smollm2_path()
  except FileNotFoundError as error:
    pytest.skip(str(error))
  tokenizer = load_tokenizer(path)
  text = "Hello wörld 123 \\boxed{45}\n\n def f(): ünï 𝔘"
  ids = tokenizer.encode(text)
  assert tokenizer.decode([*ids, tokenizer.eos_id]) == text
  # Digits are cut one by one; ids as transformers gives them.
  assert tokenizer.encode("7 + 512") == [39, 1232, 216, 37, 33, 34]
  assert tokenizer.render("7?")[:4] == [1, 9690, 198, 2683]
  assert (tokenizer.vocab_size, tokenizer.eos_id) == (49152, 2)
