import collections
import json
import pickle
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as st

from jaxrl_entropy import sharding
from jaxrl_entropy.models import lora
from jaxrl_entropy.models.io import checkpoints, export
from jaxrl_entropy.models.io.safetensors_folder import SafetensorsFolder
from jaxrl_entropy.models.io.sources import CheckpointError
from tests import devices
from tests.models import peers

NAME = "qwen2_tied"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path):
  """A copy of a model whose weights are in one file."""
  config, params = checkpoints.load(peers.FOLDER / NAME)
  export.save(tmp_path, config, params)
  return tmp_path


def _edit(folder, change):
  file = folder / "model.safetensors"
  tensors = st.load_file(file)
  change(tensors)
  st.save_file(tensors, file)


def _refused(folder, *parts):
  with pytest.raises(CheckpointError) as error:
    checkpoints.load(folder)
  for part in parts:
    assert part in str(error.value)


def test_a_missing_tensor_is_named(folder):
  _edit(folder, lambda tensors: tensors.pop(UP))
  _refused(folder, UP, "missing")


def test_a_misshapen_tensor_is_named(folder):
  _edit(folder, lambda tensors: tensors.update({UP: tensors[UP][:, :-1]}))
  _refused(folder, "model.safetensors", UP, "(36, 23)", "(36, 24)")


def test_integer_weights_are_refused(folder):
  _edit(folder, lambda tensors: tensors.update({UP: tensors[UP].astype("i1")}))
  _refused(folder, "model.safetensors", UP, "holds I8")


def test_an_extra_tensor_is_refused(folder):
  _edit(folder, lambda tensors: tensors.update(score=np.zeros(3)))
  _refused(folder, "model.safetensors", "'score'", "no place")


def test_a_tied_head_must_equal_the_embedding(folder):
  def tie(tensors):
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()

  def untie(tensors):
    tensors["lm_head.weight"][0, 0] += 1

  _edit(folder, tie)
  checkpoints.load(folder)
  _edit(folder, untie)
  _refused(folder, "lm_head.weight", "differs from the embedding")


def test_rotary_constants_are_ignored(folder):
  name = "model.layers.0.self_attn.rotary_emb.inv_freq"
  _edit(folder, lambda tensors: tensors.update({name: np.zeros(2)}))
  checkpoints.load(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(folder, value):
  _edit(folder, lambda tensors: tensors[UP].__setitem__((0, 3), value))
  _refused(folder, UP, "NaN or infinity")


def test_a_truncated_file_is_named(folder):
  file = folder / "model.safetensors"
  file.write_bytes(file.read_bytes()[:-100])
  _refused(folder, "model.safetensors", "cut short")


def _index(tmp_path):
  shutil.copytree(peers.FOLDER / NAME, tmp_path / "model")
  folder = tmp_path / "model"
  index = folder / "model.safetensors.index.json"
  return folder, index, json.loads(index.read_text())


@pytest.mark.parametrize(
  "file", ["../evil.safetensors", "/etc/passwd", "a/../../b.safetensors"]
)
def test_an_index_cannot_leave_the_folder(tmp_path, file):
  folder, path, index = _index(tmp_path)
  index["weight_map"][UP] = file
  path.write_text(json.dumps(index))
  _refused(folder, UP, file, "leaves the folder")


def test_an_index_that_lies_is_refused(tmp_path):
  folder, path, index = _index(tmp_path)
  wrong = next(f for f in index["weight_map"].values() if "00001" in f)
  index["weight_map"][UP] = wrong
  path.write_text(json.dumps(index))
  _refused(folder, wrong, UP, "missing from the file")


def test_a_missing_or_truncated_shard_names_file_and_tensor(tmp_path):
  folder, _, index = _index(tmp_path)
  shard = folder / index["weight_map"][UP]
  shard.write_bytes(shard.read_bytes()[:-8])
  _refused(folder, shard.name, "should hold")
  shard.unlink()
  _refused(folder, shard.name, "missing")


def test_a_tensor_that_no_index_names_is_refused(tmp_path):
  folder, _, index = _index(tmp_path)
  file = folder / index["weight_map"][UP]
  tensors = st.load_file(file) | {"extra": np.zeros(2)}
  st.save_file(tensors, file)
  _refused(folder, file.name, "'extra'")


def test_pickles_are_never_read(folder):
  class Bomb:
    def __reduce__(self):
      return (pytest.fail, ("the pickle was read",))

  (folder / "model.safetensors").unlink()
  (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
  _refused(folder, "pytorch_model.bin", "pickle")


@pytest.mark.parametrize("text", ["{", "[]", '"llama"'])
def test_a_broken_config_is_named(folder, text):
  (folder / "config.json").write_text(text)
  _refused(folder, "config.json")


@pytest.mark.parametrize(
  ("model", "head"),
  [("language_model.model.", "language_model."), ("model.language_model.", "")],
  ids=["transformers 4", "transformers 5"],
)
def test_the_text_model_of_a_multimodal_one(tmp_path, caplog, model, head):
  source = peers.FOLDER / "gemma3_two_ropes"
  config, params = checkpoints.load(source)
  described = json.loads((source / "config.json").read_text())
  multimodal = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "text_config": described,
    "vision_config": {"hidden_size": 8},
  }
  (tmp_path / "config.json").write_text(json.dumps(multimodal))
  tensors = {
    model + name.removeprefix("model."): value
    for file in source.glob("*.safetensors")
    for name, value in st.load_file(file).items()
  }
  tensors["vision_tower.embeddings.weight"] = np.zeros((2, 2), np.float32)
  tensors[f"{head}lm_head.weight"] = tensors[f"{model}embed_tokens.weight"]
  st.save_file(tensors, tmp_path / "model.safetensors")
  text_config, text = checkpoints.load(tmp_path)
  assert text_config == config
  jax.tree.map(np.testing.assert_array_equal, text, params)
  assert "1 tensors outside of the text model are not read" in caplog.text


def test_nothing_there(tmp_path):
  with pytest.raises(FileNotFoundError):
    checkpoints.load(tmp_path / "nowhere")


def test_an_export_overwrites_nothing(folder):
  config, params = checkpoints.load(folder)
  with pytest.raises(FileExistsError, match="already holds weights"):
    export.save(folder, config, params)


def test_bfloat16_files(tmp_path):
  config, params = checkpoints.load(peers.FOLDER / NAME)
  export.save(tmp_path, config, params, dtype="bfloat16")
  _, wide = checkpoints.load(tmp_path)
  rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  assert wide["final_norm"]["scale"].dtype == jnp.float32
  jax.tree.map(
    np.testing.assert_array_equal,
    wide,
    jax.tree.map(lambda x: x.astype(jnp.float32), rounded),
  )
  _, narrow = checkpoints.load(tmp_path, dtype="bfloat16")
  jax.tree.map(np.testing.assert_array_equal, narrow, rounded)


def test_adapters_are_merged(tmp_path):
  config, params = checkpoints.load(peers.FOLDER / NAME)
  adapted = lora.add(params, 2, ("q_proj", "down_proj"), jax.random.key(1))
  adapted = jax.tree.map(lambda x: x + 0.01, adapted)
  export.save(tmp_path, config, adapted)
  jax.tree.map(
    np.testing.assert_array_equal,
    checkpoints.load(tmp_path)[1],
    lora.merged(adapted),
  )


def test_companions_and_token_ids(folder, tmp_path):
  (folder / "tokenizer.json").write_text("{}")
  described = json.loads((folder / "config.json").read_text())
  (folder / "config.json").write_text(
    json.dumps(described | {"eos_token_id": [1, 2]})
  )
  target = tmp_path / "out"
  ids = export.copy_companions(folder, target)
  config, params = checkpoints.load(folder)
  export.save(target, config, params, token_ids=ids)
  assert (target / "tokenizer.json").read_text() == "{}"
  written = json.loads((target / "config.json").read_text())
  assert written["eos_token_id"] == [1, 2]


def _load_and_save_sharded(source, target):
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  reads, read = collections.Counter(), SafetensorsFolder.read

  def count(self, name, index):
    reads[name] += 1
    return read(self, name, index)

  SafetensorsFolder.read = count
  config, params = checkpoints.load(source, mesh=mesh)
  kernel = params["layers"]["mlp"]["up_proj"]["kernel"]
  export.save(target, config, params)
  shard = kernel.addressable_shards[0].data
  return params, tuple(kernel.sharding.spec), shard, reads[UP]


def test_weights_stream_into_their_shards(tmp_path):
  source = peers.FOLDER / NAME
  params, spec, shard, reads = devices.run(
    _load_and_save_sharded, source, tmp_path
  )
  _, alone = checkpoints.load(source)
  jax.tree.map(np.testing.assert_array_equal, params, alone)
  assert spec == (None, ("fsdp", "expert"), "tensor")
  assert shard.shape == (3, 12, 18)
  assert reads == 4  # Of eight devices, pairs hold the same slice.
  jax.tree.map(
    np.testing.assert_array_equal, checkpoints.load(tmp_path)[1], alone
  )
