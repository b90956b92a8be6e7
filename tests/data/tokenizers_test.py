"""Symbols, Hugging Face folders and GGUF files as tokenizers."""

import json

import pytest
from tokenizers import (
  AddedToken,
  Tokenizer,
  decoders,
  models,
  pre_tokenizers,
  processors,
)
from transformers import PreTrainedTokenizerFast

from jaxrl_entropy.data.chat import PromptFormat
from jaxrl_entropy.data.tokenizers import SymbolTokenizer, load_tokenizer
from jaxrl_entropy.models.io import gguf_file

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


def _write(file, **content):
  file.write_text(json.dumps(content))


def test_all_ids_that_the_model_files_name_end_a_response(folder):
  assert load_tokenizer(folder).stop_ids == (0,)
  _write(folder / "generation_config.json", eos_token_id=[3, 0])
  _write(folder / "config.json", eos_token_id=1)
  tokenizer = load_tokenizer(folder)
  assert tokenizer.stop_ids == (0, 3, 1)
  assert tokenizer.decode([4, 4, 3]) == "hi hi"


def test_stop_ids_of_weights_in_another_folder(folder, tmp_path):
  weights = tmp_path / "weights"
  weights.mkdir()
  _write(weights / "config.json", eos_token_id=[4])
  assert load_tokenizer(folder, weights).stop_ids == (0, 4)


def test_ids_of_added_tokens_are_below_the_size(folder):
  content = json.loads((folder / "tokenizer.json").read_text())
  token = AddedToken("<far>", special=True)
  content["added_tokens"].append(
    {"id": 9, "content": token.content, "single_word": False}
    | {"lstrip": False, "rstrip": False, "normalized": False, "special": True}
  )
  content["model"]["vocab"]["<far>"] = 9
  _write(folder / "tokenizer.json", **content)
  assert load_tokenizer(folder).vocab_size == 10


def _byte_level(*cuts):
  """A byte-level tokenizer that knows a few merges, digits and special ids."""
  letters = sorted(pre_tokenizers.ByteLevel.alphabet())
  pairs = [("\u0120", "\u0120"), ("1", "2"), ("h", "i"), ("\u0120", "7")]
  words = [*letters, *("".join(pair) for pair in pairs)]
  raw = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, pairs))
  raw.pre_tokenizer = pre_tokenizers.Sequence(
    [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False)]
  )
  raw.decoder = decoders.ByteLevel()
  raw.post_processor = processors.ByteLevel(trim_offsets=False)
  raw.add_special_tokens(["<bos>", "<eos>"])
  return raw


DIGITS = pre_tokenizers.Digits(individual_digits=True)


@pytest.mark.parametrize(
  ("name", "model_type", "cuts"),
  [
    ("LlamaTokenizerFast", "llama", (DIGITS,)),  # deepseek-math
    ("GPT2Tokenizer", "llama", (DIGITS,)),  # SmolLM2
    ("LlamaTokenizerFast", "qwen2", ()),  # DeepSeek-R1-Distill-Qwen
    ("PreTrainedTokenizerFast", "llama", ()),  # Llama 3
  ],
)
def test_ids_are_those_of_tokenizer_json(tmp_path, name, model_type, cuts):
  raw = _byte_level(*cuts)
  raw.save(str(tmp_path / "tokenizer.json"))
  special = {"bos_token": "<bos>", "eos_token": "<eos>"}
  _write(
    tmp_path / "tokenizer_config.json",
    tokenizer_class=name,
    add_bos_token=True,
    add_eos_token=False,
    **special,
  )
  _write(tmp_path / "config.json", model_type=model_type)
  tokenizer = load_tokenizer(tmp_path)
  text = "hi  7  + 12   3\n\n 12"
  ids = raw.encode(text).ids
  assert tokenizer.encode(text) == ids
  assert tokenizer.render(text) == [raw.token_to_id("<bos>"), *ids]
  assert tokenizer.decode(ids) == text


def test_a_prompt_is_not_ended(tmp_path):
  raw = _byte_level()
  raw.post_processor = processors.TemplateProcessing(
    single="<bos> $A <eos>", special_tokens=[("<bos>", 260), ("<eos>", 261)]
  )
  fast = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>")
  fast.save_pretrained(tmp_path)
  tokenizer = load_tokenizer(tmp_path)
  assert tokenizer.render("hi") == [260, *tokenizer.encode("hi")]


def test_sentencepiece_files_ask_for_their_package(tmp_path):
  (tmp_path / "tokenizer.model").write_bytes(b"")
  _write(tmp_path / "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
  with pytest.raises(
    ValueError, match=r"tokenizer\.model needs the sentencepi"
  ):
    load_tokenizer(tmp_path)


def _gguf(path, **settings):
  """A GGUF file that holds the tokenizer of `_byte_level` alone."""
  writer = pytest.importorskip("gguf")
  raw = _byte_level()
  names = sorted(raw.get_vocab(), key=raw.token_to_id)
  file = writer.GGUFWriter(path, "llama")
  file.add_tokenizer_model("gpt2")
  file.add_tokenizer_pre("llama-bpe")
  file.add_token_list([*names, "[PAD]"])
  kinds = [3 if name in ("<bos>", "<eos>") else 1 for name in names]
  file.add_token_types([*kinds, 5])
  file.add_token_merges(["1 2", "h i"])
  for key, value in settings.items():
    add = file.add_bool if isinstance(value, bool) else file.add_uint32
    add(f"tokenizer.ggml.{key}", value)
  file.write_header_to_file()
  file.write_kv_data_to_file()
  file.close()
  return path


def test_gguf_files_name_their_first_and_last_tokens(tmp_path):
  ends = {"eos_token_id": 261, "eot_token_id": 5, "eom_token_id": 261}
  path = _gguf(
    tmp_path / "x.gguf", bos_token_id=260, add_bos_token=True, **ends
  )
  tokenizer = load_tokenizer(path)
  assert tokenizer.stop_ids == (261, 5)
  assert tokenizer.render("hi") == [260, *tokenizer.encode("hi")]
  assert tokenizer.vocab_size == 262  # The padding behind it is no token.


def test_gguf_files_without_a_first_token(tmp_path):
  path = _gguf(
    tmp_path / "x.gguf", bos_token_id=260, add_bos_token=False, eos_token_id=261
  )
  tokenizer = load_tokenizer(path)
  assert tokenizer.render("hi") == tokenizer.encode("hi")


def test_a_missing_tokenizer_is_named(tmp_path):
  for path in (tmp_path / "no", tmp_path):
    with pytest.raises(ValueError, match=str(path)):
      load_tokenizer(path)


def test_a_model_without_a_tokenizer_gets_no_empty_one(tmp_path):
  """From this file alone transformers makes a tokenizer without tokens."""
  (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
  with pytest.raises(ValueError, match="has no tokenizer: copy"):
    load_tokenizer(tmp_path)


def test_the_tokenizer_of_a_gguf_file():
  try:
    path = gguf_file.smollm2_path()
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


@pytest.fixture
def tagged(folder):
  """A tokenizer whose tags are special tokens, with a template of variables."""
  config = json.loads((folder / "tokenizer_config.json").read_text())
  config["chat_template"] = None
  template = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if enable_thinking %}<answer>{% endif %}"
    "{% if date_string == '26 Jul 2024' %} hi{% endif %}"
  )
  for file in folder.glob("chat_template.jinja"):
    file.write_text(template)
  (folder / "tokenizer_config.json").write_text(
    json.dumps(config | {"chat_template": template})
  )
  return folder


def test_tags_that_are_special_tokens_stay_in_responses(folder):
  tokenizer = load_tokenizer(folder)
  text = tokenizer.decode([3, 4, tokenizer.eos_id])
  assert text.replace(" ", "") == "<answer>hi"


def test_a_prompt_is_spelled_with_the_ends_of_its_turns(folder):
  tokenizer = load_tokenizer(folder)
  ids = [1, 4, tokenizer.eos_id, 3]
  assert "<eos>" in tokenizer.spell(ids)
  assert "<eos>" not in tokenizer.decode(ids)


def test_the_form_of_prompts_can_be_set(tagged):
  def render(**settings):
    form = PromptFormat(**settings)
    return load_tokenizer(tagged, prompt_format=form).render("hi")

  assert render() == [1, 4, 4]
  assert render(date="1 Jan 2000") == [1, 4]
  assert render(variables={"enable_thinking": True}) == [1, 4, 3, 4]
  assert render(template="none") == [4]
  assert render(template="none", system="hi", suffix=" hi") == [4, 4, 4]
  assert render(system="hi") == [2, 4, 1, 4, 4]


def test_the_system_message_of_a_row_comes_first(tagged):
  form = PromptFormat(system="<answer>")
  tokenizer = load_tokenizer(tagged, prompt_format=form)
  assert tokenizer.render("hi", "hi")[:2] == [2, 4]


def test_a_template_that_must_be_there(tmp_path):
  words = {"<eos>": 0, "hi": 1}
  raw = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
  PreTrainedTokenizerFast(
    tokenizer_object=raw, eos_token="<eos>"
  ).save_pretrained(tmp_path)
  with pytest.raises(ValueError, match="no chat template"):
    load_tokenizer(tmp_path, prompt_format=PromptFormat(template="chat"))
