import struct

import jax
import numpy as np
import pytest

from jaxrl_entropy.models.io import checkpoints, gguf_file
from jaxrl_entropy.models.io.gguf_config import gguf_config
from jaxrl_entropy.models.io.sources import CheckpointError
from jaxrl_entropy.models.rope import Rope
from tests.models import peers

writer = pytest.importorskip("gguf")
Type = writer.GGMLQuantizationType
HEADS, KV_HEADS, LAYERS = 6, 2, 3


def _write(path, metadata=(), tensors=(), kind="llama"):
  file = writer.GGUFWriter(path, kind)
  for name, value in dict(metadata).items():
    if isinstance(value, str):
      file.add_string(name, value)
    elif isinstance(value, float):
      file.add_float32(name, value)
    elif isinstance(value, list):
      file.add_array(name, value)
    else:
      file.add_uint32(name, value)
  for name, values, kind in tensors:
    data = writer.quantize(values, kind)
    file.add_tensor(name, data, raw_dtype=kind)
  file.write_header_to_file()
  file.write_kv_data_to_file()
  file.write_tensors_to_file()
  file.close()
  return path


@pytest.mark.parametrize(
  "kind", [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_1, Type.Q5_0]
)
def test_tensors_and_metadata_are_read(tmp_path, kind):
  values = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
  words = ["a", "é", "<|end|>"]
  path = _write(
    tmp_path / "x.gguf",
    {"words": words, "numbers": [3, 1, 2], "rate": 0.5, "size": 7},
    [("first", values, kind), ("second", values[:3] + 1, Type.F32)],
  )
  file = gguf_file.open_gguf(path)
  assert file.metadata["words"] == words
  assert file.metadata["numbers"] == [3, 1, 2]
  assert (file.metadata["rate"], file.metadata["size"]) == (0.5, 7)
  want = writer.dequantize(writer.quantize(values, kind), kind)
  np.testing.assert_array_equal(file.read("first"), want)
  np.testing.assert_array_equal(file.read("second"), values[:3] + 1)


@pytest.mark.parametrize("size", [3, 20, 60])
def test_a_cut_header_is_refused(tmp_path, size):
  path = _write(tmp_path / "x.gguf", {"words": ["a"] * 9})
  path.write_bytes(path.read_bytes()[:size])
  with pytest.raises(gguf_file.GgufError, match=r"x\.gguf"):
    gguf_file.open_gguf(path)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (struct.pack("<IQQQ", 3, 0, 1, 1 << 40), "past the end"),
    (struct.pack("<IQQQ", 3, 0, 1, 1 << 63), "corrupt GGUF header"),
    (struct.pack("<IQQQ17sII", 3, 0, 1, 17, b"general.alignment", 4, 0), "= 0"),
    (struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"x", 77), "KeyError"),
  ],
)
def test_a_header_that_lies_is_refused(tmp_path, content, message):
  path = tmp_path / "x.gguf"
  path.write_bytes(b"GGUF" + content)
  with pytest.raises(gguf_file.GgufError, match=rf"x\.gguf: .*{message}"):
    gguf_file.open_gguf(path)


def test_a_tensor_larger_than_the_file_is_named(tmp_path):
  path = _write(
    tmp_path / "x.gguf", (), [("w", np.ones((4, 8), np.float32), Type.F32)]
  )
  info = gguf_file.TensorInfo((1 << 40, 1 << 20), 0, 64)
  with pytest.raises(gguf_file.GgufError, match="ends inside tensor 'w'"):
    gguf_file.Gguf(path, {}, {"w": info}).read("w")


def test_a_cut_tensor_is_named(tmp_path):
  path = _write(
    tmp_path / "x.gguf", (), [("w", np.ones((4, 8), np.float32), Type.F32)]
  )
  path.write_bytes(path.read_bytes()[:-40])
  file = gguf_file.open_gguf(path)
  with pytest.raises(gguf_file.GgufError, match="ends inside tensor 'w'"):
    file.read("w")


@pytest.mark.parametrize(
  ("shape", "kind", "message"),
  [
    ((4, 8), 999, "tensor 'w' has unknown ggml type 999"),
    ((5,), int(Type.Q8_0), "tensor 'w' has 5 values"),
  ],
)
def test_a_tensor_that_cannot_be_decoded_is_named(
  tmp_path, shape, kind, message
):
  info = gguf_file.TensorInfo(shape, kind, 0)
  file = gguf_file.Gguf(tmp_path / "x.gguf", {}, {"w": info})
  with pytest.raises(gguf_file.GgufError, match=rf"x\.gguf: {message}"):
    file.read("w")


def test_other_files_are_refused(tmp_path):
  (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04 something else")
  with pytest.raises(gguf_file.GgufError, match="is not a GGUF file"):
    gguf_file.open_gguf(tmp_path / "x.gguf")
  (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 1, 0, 0))
  with pytest.raises(gguf_file.GgufError, match="version 1 is not supported"):
    gguf_file.open_gguf(tmp_path / "x.gguf")


_NAMES = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "input_layernorm": "attn_norm",
  "post_attention_layernorm": "ffn_norm",
}


def _model(tmp_path, extra=(), **changes):
  """The GGUF file llama.cpp would make of a Hugging Face model.

  Args:
    tmp_path: where it is written.
    extra: more tensors, by name.
    **changes: metadata; None leaves a key out.
  """
  source = checkpoints.SafetensorsFolder(peers.FOLDER / "llama_yarn_magnitudes")

  def read(name):
    return source.read(name, (slice(None),) * len(source.shape(name)))

  def interleave(rows, heads):
    split = rows.reshape(heads, 2, -1, rows.shape[-1])
    return split.swapaxes(1, 2).reshape(rows.shape)

  tensors = {
    "token_embd.weight": read("model.embed_tokens.weight"),
    "output_norm.weight": read("model.norm.weight"),
  }
  for layer in range(LAYERS):
    for theirs, name in _NAMES.items():
      values = read(f"model.layers.{layer}.{theirs}.weight")
      if name == "attn_q":
        values = interleave(values, HEADS)
      if name == "attn_k":
        values = interleave(values, KV_HEADS)
      tensors[f"blk.{layer}.{name}.weight"] = values
  tensors |= dict(extra)
  metadata = {
    "llama.block_count": LAYERS,
    "llama.context_length": 64,
    "llama.embedding_length": 24,
    "llama.feed_forward_length": 36,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.attention.key_length": 10,
    "llama.attention.layer_norm_rms_epsilon": 1e-6,
    "llama.rope.freq_base": 200.0,
  } | changes
  return _write(
    tmp_path / "m.gguf",
    {k: v for k, v in metadata.items() if v is not None},
    [(name, values, Type.F32) for name, values in tensors.items()],
  )


def test_a_llama_file_gives_the_same_parameters(tmp_path):
  config, params = checkpoints.load(_model(tmp_path))
  theirs, want = checkpoints.load(peers.FOLDER / "llama_yarn_magnitudes")
  jax.tree.map(np.testing.assert_array_equal, params, want)
  assert (config.head_dim, config.tie_embeddings) == (10, True)
  assert config.norm_eps == theirs.norm_eps == 1e-6
  assert config.rope.theta == 200.0


THETA = 3e6


def _llama3_factors():
  """As transformers computes them, for heads of 10."""
  frequency = THETA ** -(np.arange(0, 10, 2) / 10)
  turns = 8192 * frequency / (2 * np.pi)
  share = np.clip((turns - 1.0) / (4.0 - 1.0), 0, 1)
  assert 0 < share[2] < 1
  return (1 / (share + (1 - share) / 32)).astype(np.float32)


def _with_factors(tmp_path, factors):
  return _model(
    tmp_path,
    {"rope_freqs.weight": np.asarray(factors, np.float32)},
    **{"llama.rope.freq_base": THETA},
  )


def test_frequency_factors_are_those_of_llama_3(tmp_path):
  config, _ = checkpoints.load(_with_factors(tmp_path, _llama3_factors()))
  assert config.rope == Rope(THETA, "llama3", 32.0, original_length=8192)


def test_factors_of_one_scale_nothing(tmp_path):
  config, _ = checkpoints.load(_with_factors(tmp_path, np.ones(5)))
  assert config.rope == Rope(THETA)


@pytest.mark.parametrize("factors", [np.linspace(1, 32, 5), np.ones(4)])
def test_other_frequency_factors_are_refused(tmp_path, factors):
  with pytest.raises(CheckpointError, match=r"m\.gguf.*'rope_freqs\.weight'"):
    checkpoints.load(_with_factors(tmp_path, factors))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type = 'yarn'"),
    ({"llama.rope.scaling.factor": 2.0}, "rope.scaling.factor"),
    ({"llama.rope.dimension_count": 4}, "rope.dimension_count"),
    ({"llama.attention.sliding_window": 8}, "attention.sliding_window"),
    ({"llama.residual_scale": 2.0}, "llama.residual_scale"),
    ({"llama.block_count": None}, "no llama.block_count"),
    (
      {"llama.attention.head_count_kv": [2, 2, 1]},
      r"head_count_kv = \[2, 2, 1",
    ),
    ({"llama.block_count": 4}, "blk.3|layers.3"),
  ],
)
def test_what_is_not_understood_is_refused(tmp_path, changes, message):
  with pytest.raises(CheckpointError, match=message):
    checkpoints.load(_model(tmp_path, **changes))


def test_a_missing_embedding_is_named(tmp_path):
  file = gguf_file.open_gguf(_model(tmp_path))
  tensors = {k: v for k, v in file.tensors.items() if k != "token_embd.weight"}
  with pytest.raises(CheckpointError, match=r"m\.gguf.*'token_embd\.weight'"):
    gguf_config(gguf_file.Gguf(file.path, file.metadata, tensors))
