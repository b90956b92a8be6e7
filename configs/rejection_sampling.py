"""Fine-tuning on SmolLM2-135M-Instruct's own right answers, and RL after it.

    jaxrl-entropy sft --config=configs/rejection_sampling.py --workdir=runs/rft
    jaxrl-entropy sweep --config=configs/rejection_sampling.py \\
        --workdir=runs/starts

The first command asks training questions, keeps the right responses, imitates
them and evaluates. The second makes one study of reinforcement learning from
two starts: the model as it is, and after that. For traces of your own set
sft.samples=0, sft.task.name=traces and sft.task.args.path=FILE. What the model
needs is in smollm2.py.
"""

from configs import smollm2
from jaxrl_entropy.errors import UserError, nearest

STARTS = ("rejection_sampling", "model")


def get_config(start: str = STARTS[0]):
  if start not in STARTS:
    raise UserError(f"start {start!r}: {nearest(start, STARTS)}")
  config = smollm2.get_config()
  config.name = f"smollm2-{start}"
  if start == "model":
    return config
  config.sft.samples = 4
  config.sft.questions = 256
  config.sft.task.args.update(per_question=2, test_size=16)
  config.sft.epochs = 2.0
  config.sft.batch_size = 16
  config.sft.learning_rate = 1e-5
  return config


def sweep(add):
  for start in STARTS:
    add(arg=start)
