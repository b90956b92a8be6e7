"""Commands that users get wrong, and words of the one line that they get.

All of them run in a folder with `FILES` and the model `model`, a decoder of a
few thousand parameters with a byte-level tokenizer.
"""

import json
from pathlib import Path

import jax
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from jaxrl_entropy.models import transformer
from jaxrl_entropy.models.config import preset
from jaxrl_entropy.models.io import export

MINE = """
from jaxrl_entropy.config import recipes

def get_config(recipe="grpo"):
  config = recipes.get_config(recipe)
  config.steps = 1
  config.model.weights = "model"
  config.task.args = dict(path="data.jsonl", test_size=2)
  config.reward.workers = 1
  config.rollout.prompts_per_step = 4
  config.rollout.num_minibatches = 2
  config.rollout.group_size = 4
  config.rollout.max_prompt_length = 128
  config.rollout.max_response_length = 8
  return config
"""
RECORD = {"step": 0, "entropy/token_mean": 1.0}
FILES = {
  "mine.py": MINE,
  "tiny.py": "from tests.training.tiny_config import get_config\n",
  "broken.py": "def get_config(:\n",
  "raises.py": "def get_config():\n  raise RuntimeError('boom')\n",
  "empty.py": "x = 1\n",
  "nothing.py": "def get_config(arg=''):\n  pass\n",
  "imports.py": "import nothere_at_all\n",
  "undefined.py": "x = y\n",
  "typed.py": MINE.replace("steps = 1", "steps = 'four'"),
  "field.py": MINE.replace("config.steps", "config.step"),
  "dict.py": "def get_config():\n  return {'steps': 3}\n",
  "one_run.py": MINE + "\ndef sweep(add):\n  add({'stepz': 3})\n",
  "twice.py": MINE + "\ndef sweep(add):\n  add()\n  add()\n",
  "no_runs.py": MINE + "\ndef sweep(add):\n  pass\n",
  "lab.py": "def reward(problem, response):\n  return 1.0\nnumber = 3\n",
  "data.jsonl": "".join(
    json.dumps({"question": f"{n} + 1?", "answer": f"#### {n + 1}"}) + "\n"
    for n in range(8)
  ),
  "text.jsonl": "What is 1 + 1?\nWhat is 2 + 2?\n",
  "columns.jsonl": '{"frage": "1 + 1?", "antwort": "2"}\n' * 2,
  "no_answer.jsonl": '{"question": "1 + 1?", "answer": ""}\n',
  "blank.jsonl": "",
  "array.json": "[1, 2, 3]\n",
  "half.json": '[{"question": "1 + 1?", ',
  "table.csv": "a,b\n1,2\n",
  "table.parquet": "not a table",
  "table.xlsx": "no",
  "long.jsonl": json.dumps({"question": "long " * 90, "answer": "1"}) + "\n",
  "prompts.txt": "\n\n",
  "no_model/notes.txt": "",
  "no_tokenizer/config.json": "{}",
  "strange/config.json": '{"model_type": "mamba", "architectures": ["M"]}',
  "not_json/config.json": "{",
  "model.gguf": "GGUF, but no more",
  "done/config.json": json.dumps({"config": {"steps": 3}}),
  "study/notes.txt": "",
  "run_without_records/config.json": "{}",
  "run_without_records/metrics.jsonl": "",
  "sampled/metrics.jsonl": json.dumps(RECORD) + "\n",
}


def make_model(folder: Path) -> None:
  """Writes a model with a byte-level tokenizer."""
  alphabet = ("<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet()))
  words = {symbol: index for index, symbol in enumerate(alphabet)}
  raw = Tokenizer(models.BPE(words, []))
  raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>")
  tokenizer.save_pretrained(folder)
  model = preset("nano", vocab_size=len(words), max_length=256)
  params = transformer.init(model, jax.random.key(0))
  export.save(folder, model, params, token_ids={})


def _train(*overrides, config="mine.py", workdir="run"):
  fields = (f"--config.{override}" for override in overrides)
  return ("train", f"--config={config}", f"--workdir={workdir}", *fields)


def _data(path, *overrides):
  return _train(f"task.args.path={path}", *overrides)


def _tiny(*overrides):
  return _train(*overrides, config="tiny.py")


COMMANDS = [
  (("trian",), "did you mean 'train'"),
  (("--workdir=run",), "there is no command"),
  (("train",), "--config, --workdir"),
  (("train", "--config=mine.py"), "--workdir"),
  (("train", "--config=mine.py", "--workdir="), "--workdir is empty"),
  (("train", "--config=mine.py", "--workdir=gs://b/run"), "gs://b/run"),
  (("train", "--config=mine.py", "--workdir=data.jsonl"), "data.jsonl"),
  (("train", "--config=mine.py", "--workdir=data.jsonl/run"), "written"),
  ((*_train(), "now"), "now"),
  ((*_train(), "--steps=3"), "--steps"),
  ((*_train(), "--config.steps"), "needs a value"),
  (_train("seed=1", workdir="done"), "holds another config"),
  (_train("rollout.kv_tokens=16", workdir="study"), "raise kv_tokens"),
]
CONFIGS = [
  (_train(config="nothere.py"), "no such file"),
  (_train(config="nothere"), "no such file"),
  (_train(config="data.jsonl"), "data.jsonl"),
  (_train(config="model"), "model"),
  (_train(config="broken.py"), "broken.py: SyntaxError"),
  (_train(config="raises.py"), "boom"),
  (_train(config="empty.py"), "get_config"),
  (_train(config="nothing.py"), "get_config"),
  (_train(config="dict.py"), "get_config"),
  (_train(config="imports.py"), "nothere_at_all"),
  (_train(config="undefined.py"), "NameError"),
  (_train(config="typed.py"), "steps expects int"),
  (_train(config="field.py"), "step"),
  (_train(config="mine.py:grpoo"), "'grpo'"),
  (_train(config="tiny.py:grpo:kl"), "grpo:kl"),
]
FIELDS = [
  (_train("stepz=3"), "did you mean 'steps'"),
  (_train("rollout.group_size=3", "rollout.groupsize=3"), "'group_size'"),
  (_train("rolout.group_size=3"), "did you mean 'rollout'"),
  (_train("rollout.responses=4"), "rollout.group_size"),
  (_train("rollout.async_rollouts=1"), "now config.rollout.max_staleness"),
  (_train("rollout=5"), "is a section: set config.rollout."),
  (_train("steps.x=1"), "a value, not a section"),
  (_train("steps=four"), "expected int"),
  (_train("steps=1.5"), "expected int"),
  (_train("steps="), "expected int"),
  (_train("steps=0"), ">= 1"),
  (_train("seed=-1"), ">= 0"),
  (_train("optimizer.learning_rate=-1"), ">= 0"),
  (_train("optimizer.learning_rate=nan"), "a finite number"),
  (_train("optimizer.learning_rate=inf"), "a finite number"),
  (_train("optimizer.learning_rate=1e-6s"), "expected float"),
  (_train("optimizer.name=adam"), "'adamw'"),
  (_train("optimizer.schedule=cosin"), "'cosine'"),
  (_train("optimizer.grad_clip=0"), "> 0"),
  (_train("optimizer.b1=1.5"), "<= 1"),
  (_train("optimizer.micro_batches=0"), ">= 1"),
  (_train("optimizer.micro_batches=99"), "a mini-batch has 8 responses"),
  (_train("optimizer.lookahead.steps=1"), ">= 2"),
  (_train("recipe=grpoo"), "'grpo'"),
  (_train("checkpoint.keep=0"), ">= 1"),
  (_train("eval.every=-1"), ">= 0"),
  (_train("eval.source_temperatures=gsm,hot"), "give pairs"),
  (_train("eval.final_temperatures=(0.3,0)"), "numbers above 0"),
  (_train("log.writers=tensorbord"), "'tensorboard'"),
  (_train("log.writers=('tensorboard','tensorboard')"), "twice"),
  (_train("log.profile_steps=3"), "first and the last step"),
  (_train("log.profile_steps=5,3"), "first and the last step"),
  (_train("reward.timeout=0"), "> 0"),
  (_train("reward.overlong_buffer=9999"), "more than rollout.max_response"),
  (_train("reward.sandbox=docker"), "reward.sandbox"),
  (_train("reward.format=box"), "'boxed'"),
  (_train("mesh.data=-1"), "only one axis can be -1"),
  (_train("mesh.data=-2"), "mesh.data"),
  (_train("mesh.tensr=2"), "'tensor'"),
]
ROLLOUTS = [
  (_train("rollout.group_filter=mix"), "'mixed'"),
  (_train("rollout.num_minibatches=64"), "4 groups"),
  (_train("rollout.num_minibatches=0"), "num_minibatches is 0"),
  (_train("rollout.pack=maybe"), "rollout.pack"),
  (
    _train("rollout.group_size=1", "rollout.group_filter=mixed"),
    "never both right and wrong",
  ),
  (_train("rollout.group_size=1"), "compares the responses"),
  (_train("rollout.train_groups=9"), "at most 4 groups"),
  (_train("rollout.train_groups=2"), "would be dropped"),
  (_train("rollout.max_generation_rounds=2"), "group_filter='mixed'"),
  (_train("rollout.temperature=0"), "temperature is 0.0: it must be > 0"),
  (_train("rollout.temperature=hot"), "expected float"),
  (_train("rollout.top_p=1.5"), "top_p is 1.5: it must be > 0 and <= 1"),
  (_train("rollout.slots=-1"), "rollout.slots is -1"),
  (_train("rollout.partial_tokens=-3"), "rollout.partial_tokens is -3"),
  (_train("rollout.max_staleness=-1"), "max_staleness is -1"),
  (_train("rollout.tis_cap=0"), "tis_cap is 0.0"),
  (_train("rollout.weight_dtype=int4"), "did you mean 'int8'"),
  (_train("rollout.recompute_old_logp=samplr"), "expected bool"),
  (_train("rollout.devices=1"), "leave some"),
  (_train("rollout.tensor=2"), "tensor is 2 without rollout.devices"),
  (_train("rollout.kv_tokens=16"), "raise kv_tokens to at least"),
  (_train("rollout.max_response_length=600"), "made for 256"),
  (_train("rollout.accept.name=best"), "rollout.accept"),
  (_train("rollout.accept.args.share=2"), "share"),
]
METHODS = [
  (_train("loss.nam=grpo"), "did you mean 'name'"),
  (_train("loss.name=grop"), "did you mean 'grpo'"),
  (_train("loss.name=nothere:loss"), "nothere"),
  (_train("loss.name=lab:loss"), "lab"),
  (_train("loss.name=lab:number"), "lab:number"),
  (_train("loss.name=broken:loss"), "SyntaxError"),
  (_train("loss.args.lo=0.2"), "lo"),
  (_train("loss.args.clip_low=abc"), "clip_low"),
  (_train("loss.args.clip_low=-0.2"), "clip_low"),
  (_train("recipe=kl_cov", "loss.args.fraction=2.0"), "fraction"),
  (_train("recipe=kl_cov", "loss.args.fraction=-0.1"), "fraction"),
  (_train("recipe=clip_cov", "loss.args.cov_low=9"), "cov_low"),
  (_train("loss.statistics=batch"), "'minibatch'"),
  (_train("loss.controllers.low=3"), "loss.controllers.low is 3"),
  (
    _train("loss.controllers.clip_high={'name': 'target'}"),
    "'target_entropy'",
  ),
  (_train("advantage.name=grpoo"), "advantage"),
  (_train("advantage.args.scaled=3"), "scaled"),
  (_train("recipe=distillation"), "teacher.weights"),
  (_train("loss.name=rlsd", "teacher.template=Solve"), "{prompt}"),
]
MODELS = [
  (_train("model.weights=nothere"), "nothere"),
  (_train("model.weights=Qwen/Qwen2.5-0.5B"), "Qwen/Qwen2.5-0.5B"),
  (_train("model.weights=no_model"), "config.json"),
  (_train("model.weights=strange", "model.tokenizer=model"), "mamba"),
  (_train("model.weights=not_json"), "config.json"),
  (_train("model.weights=no_tokenizer"), "no_tokenizer"),
  (_train("model.weights=model.gguf"), "model.gguf"),
  (_train("model.weights=data.jsonl"), "data.jsonl"),
  (_train("model.weights=run_without_records"), "has no tokenizer"),
  (_train("model.weights="), "tokenizer"),
  (
    _train("model.weights=", "model.preset=qwen", "model.tokenizer=model"),
    "unknown preset 'qwen'",
  ),
  (_train("model.tokenizer=nothere"), "nothere"),
  (_train("model.tokenizer=symbols"), "symbols"),
  (_train("model.compute_dtype=bfloat"), "did you mean 'bfloat16'"),
  (_train("model.remat=all"), "'full'"),
  (_train("model.attention=flash"), "'splash'"),
  (_train("model.attention=cudnn"), "cudnn"),
  (_train("model.lora_rank=-1"), ">= 0"),
  (_train("model.lora_rank=2", "model.lora_targets=q"), "q_proj"),
  (_train("model.routing_replay=true"), "no experts"),
  (_train("model.router_z=0.1"), "no experts"),
  (_train("mesh.tensor=3"), "3"),
  (_train("prompt.template=chat"), "chat template"),
]
DATA = [
  (_data("nothere.jsonl"), "nothere.jsonl"),
  (_data(""), "path"),
  (_data("nothere*.jsonl"), "nothere*.jsonl"),
  (_data("text.jsonl"), "text.jsonl"),
  (_data("columns.jsonl"), "none of the fields prompt"),
  (_data("no_answer.jsonl"), "answer"),
  (_data("blank.jsonl"), "blank.jsonl"),
  (_data("array.json"), "array.json"),
  (_data("half.json"), "half.json"),
  (_data("table.csv"), "table.csv"),
  (_data("table.parquet"), "table.parquet"),
  (_data("table.xlsx"), "table.xlsx"),
  (_data("long.jsonl"), "rollout.max_prompt_length"),
  (_data("gs://b"), "gs://b"),
  (_data("model"), "model"),
  (_data("data.jsonl", "task.args.test_path=nothere"), "nothere"),
  (_data("data.jsonl", "task.args.test_size=0"), "no test problems"),
  (_data("data.jsonl", "task.args.test_size=-1"), "test_size"),
  (_data("data.jsonl", "task.args.format=gsm"), "gsm8k"),
  (_data("data.jsonl", "task.args.verifier=maths"), "'math'"),
  (_data("data.jsonl", "task.args.verifier=nothere:f"), "nothere"),
  (_data("data.jsonl", "task.args.verifier=lab:f"), "lab"),
  (_data("data.jsonl", "task.args.verifier=lab:number"), "number"),
  (_data("data.jsonl", "task.args.pth=3"), "'pth'"),
  (_train("task.name=countdwn"), "did you mean 'countdown'"),
  (_train("task.name=lab:nothere"), "nothere"),
  (_train("task.name=tfds"), "tfds(name"),
  (_tiny("rollout.max_prompt_length=3"), "max_prompt_length is 3"),
  (_tiny("rollout.max_response_length=4"), "demonstration"),
  (_tiny("sft.wrong_share=2"), "<= 1"),
]
REWARDS = [
  (_train("reward.functions.brevity=3"), "dict(verifier="),
  (_train("reward.functions.short={'verifier': 'mth'}"), "'math'"),
  (_train("reward.functions.format={'verifier': 'math'}"), "another reward"),
  (_train("reward.functions.a={'verifier': 'math', 'wait': 2}"), "'wait'"),
  (_train("reward.functions.a={'verifier': 'lab:reward', 'weight': 'x'}"), "x"),
  (_train("reward.weight=nan"), "finite"),
  (_train("reward.workers=0"), ">= 1"),
  (_train("reward.packages=nothere"), "nothere"),
  (_train("reward.folders=nothere"), "nothere"),
  (_train("reward.judge.model=x", "task.args.verifier=judge"), "judge"),
  (_train("reward.rollout.name=entropy"), "'entropy_shape'"),
  (_train("reward.kl_kind=k9"), "'k3'"),
  (_train("checkpoint.best_by=accuracy"), "checkpoint.best_by"),
]
TOOLS = [
  (("evaluate", "--output=out"), "--workdir"),
  (("evaluate", "--workdir=data", "--config=mine.py"), "--output"),
  (("evaluate", "--workdir=nothere", "--output=out"), "nothere"),
  (("evaluate", "--workdir=study", "--output=out"), "is study a run"),
  (("evaluate", "--config=mine.py", "--best", "--output=out"), "--workdir"),
  (
    (
      *("evaluate", "--config=mine.py", "--output=out"),
      "--config.task.args.test_size=0",
    ),
    "no test problems",
  ),
  (("generate", "--prompt=hi"), "--workdir"),
  (("generate", "--config=mine.py"), "there is no prompt"),
  (("generate", "--config=mine.py", "--prompts=nothere"), "nothere"),
  (("generate", "--config=mine.py", "--prompts=prompts.txt"), "no prompt"),
  (("generate", "--config=mine.py", "--prompt=a", "--samples=0"), "samples"),
  (("generate", "--config=mine.py", "--prompt=a", "--max-tokens=0"), "max_to"),
  (("generate", "--config=mine.py", "--prompt=a", "--top-p=2"), "top_p"),
  (("generate", "--config=mine.py", "--prompt=a", "--temperature=-1"), "temp"),
  (("generate", "--config=mine.py", f"--prompt={'a' * 300}"), "256"),
  (("generate", "--workdir=study", "--prompt=a"), "is study a run"),
  (("analyze", "--workdir=nothere"), "nothere"),
  (("analyze", "--workdir=study"), "study"),
  (("analyze", "--workdir=run_without_records"), "run_without_records"),
  (("analyze", "study"), "--workdir"),
  (("samples", "--workdir=nothere"), "nothere"),
  (("samples", "--workdir=sampled"), "log.samples_every"),
  (("convert", "--target=out"), "--source"),
  (("convert", "--source=nothere", "--target=out"), "nothere"),
  (("convert", "--source=no_model", "--target=out"), "config.json"),
  (("convert", "--source=model", "--target=model"), "already holds weights"),
  (("convert", "--source=model.gguf", "--target=out"), "model.gguf"),
  (("convert", "--source=x", "--target=out", "--shard-gb=0"), "above 0"),
  (("convert", "--source=x", "--target=out", "--dtype=int4"), "--dtype"),
  (("convert", "--source=x", "--target=out", "--best"), "--workdir"),
  (("convert", "--workdir=study", "--target=out"), "study"),
  (("convert", "--source=model", "--to=hub", "--target=out"), "ORGANIZATION"),
  (("data", "inspekt", "data.jsonl"), "inspect"),
  (("data", "inspect", "nothere.jsonl"), "nothere.jsonl"),
  (("data", "inspect", "data.jsonl", "--format=gsm"), "gsm8k"),
  (("data", "inspect", "data.jsonl", "--show=all"), "--show"),
  (("data", "filter", "data.jsonl", "--output=out.jsonl"), "--rates"),
  (
    (
      *("data", "filter", "data.jsonl", "--column=rate", "--output=out.jsonl"),
      "--least=2",
    ),
    "rates from 0 to 1",
  ),
  (
    ("data", "filter", "data.jsonl", "--column=rate", "--output=out.jsonl"),
    "rate",
  ),
  (
    (
      *("data", "decontaminate", "data.jsonl", "--output=out.jsonl"),
      "--against=nothere.jsonl",
    ),
    "nothere.jsonl",
  ),
  (("sweep", "--config=mine.py", "--workdir=out"), "sweep"),
  (("sweep", "--config=one_run.py", "--workdir=out"), "'steps'"),
  (("sweep", "--config=twice.py", "--workdir=out"), "twice"),
  (("sweep", "--config=no_runs.py", "--workdir=out"), "no run"),
  (
    ("sweep", "--config=twice.py", "--workdir=out", "--launcher=k8s"),
    "--launcher",
  ),
  (("sft", "--config=mine.py", "--workdir=out"), "sft.steps"),
  (
    ("sft", "--config=mine.py", "--workdir=out", "--config.sft.steps=1"),
    "demonstrations",
  ),
  (("plan", "--config=mine.py"), "--topology"),
  (("plan", "--config=mine.py", "--topology=v5e-17"), "v5e-17"),
  (("plan", "--config=mine.py", "--topology=h100-8"), "h100"),
  (("plan", "--config=mine.py", "--topology=v5p:4x4"), "v5p:4x4"),
  (("doctor", "now"), "now"),
]
MISTAKES = [
  *(*COMMANDS, *CONFIGS, *FIELDS, *ROLLOUTS, *METHODS, *MODELS, *DATA),
  *(*REWARDS, *TOOLS),
]
