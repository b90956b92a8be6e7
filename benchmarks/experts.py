"""Updates of a small mixture of experts, against torch and `transformers`.

    python -m benchmarks.experts --quick
    python -m benchmarks.experts --full --json experts.json

The layout of OLMoE with 16 experts, of which a token is given to 4; the loads
and the peer are those of `benchmarks.train_step`.
"""

from benchmarks import common
from benchmarks.train_step import Setup, measure
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.training.forward import Forward

MODEL = preset(
  "tiny-moe", vocab_size=512, num_experts=16, num_experts_per_tok=4
)


def main() -> None:
  args = common.arguments(__doc__)
  loads, rounds = ((4,), 3) if args.quick else ((4, 16), 5)
  results = [
    result
    for rows in loads
    for result in measure(Setup(rows, 1, model=MODEL), Forward(MODEL), rounds)
  ]
  common.report("experts", results, args.json)


if __name__ == "__main__":
  main()
