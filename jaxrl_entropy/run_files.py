"""Names of the files in a run's folder and of the metrics they hold.

Training writes them, analysis reads them, and both take the names from here;
docs/metrics.md says what each metric means.
"""

# Files and folders of a run.
CONFIG = "config.json"
METRICS = "metrics.jsonl"
COMPACT_METRICS = "metrics.json"  # by metric, not by step: a committed copy
SAMPLES = "samples.jsonl"
ALARMS = "alarms.jsonl"
CHECKPOINTS = "checkpoints"
BEST = "best"
TENSORBOARD = "tensorboard"
PROBE_STATES = "probe.npz"
PROFILE = "profile"
SFT_METRICS = "sft.jsonl"
SFT_SAMPLES = "sft_samples.jsonl"
REPORT = "report"

# Keys of every record.
STEP = "step"
TIME = "time"

# Metrics, one per record. A name that ends in "/" or "@" is a prefix.
PARAMETERS = "model/parameters"
LEARNING_RATE = "lr"
TOKENS = "tokens"

REWARD_MEAN = "reward/mean"
TRAIN_ACCURACY = "reward/accuracy"
REWARD_ERRORS = "reward/errors"
REWARD_TIMEOUTS = "reward/timeouts"
INFORMATIVE_GROUPS = "groups/informative"
RESPONSE_LENGTH = "response/length"
TRUNCATED = "response/truncated"

ENTROPY = "entropy/token_mean"
SEQUENCE_ENTROPY = "entropy/seq_mean"
FILTERED_ENTROPY = "entropy/filtered"

COVARIANCE = "cov/"
COVARIANCE_MEAN = "cov/mean"
FILTERED_COVARIANCE_MEAN = "cov/filtered_mean"

# Parts of the mean covariance, by probability and sign of the advantage; the
# first two are positive and lower the entropy, the others raise it.
LIKELY_REWARDED = "cov/likely_rewarded"
UNLIKELY_PUNISHED = "cov/unlikely_punished"
LIKELY_PUNISHED = "cov/likely_punished"
UNLIKELY_REWARDED = "cov/unlikely_rewarded"

PROBE_DELTA_ENTROPY = "probe/delta_entropy"
PROBE_MINUS_COVARIANCE = "probe/minus_cov"

PREDICTORS = "predictors/"
PREDICTED_CHANGE = "predictors/change"
PICKS = "picks/"

GRADIENT_NORM = "grad_norm"
SKIPPED_UPDATES = "update/skipped"
CLIP_SHARE = "ratio/clip_share"
KL_OLD = "kl/old"
KL_REFERENCE = "kl/reference"
SELECTED_SHARE = "select/share"
SELECTED_REWARDED = "select/rewarded"
SELECTED_PROBABILITY = "select/probability"
EXTRA_SHARE = "extra/share"
EXTRA_COVARIANCE = "extra/covariance"
CONTROL = "control/"
COEFFICIENT = "control/coefficient"

STALENESS = "rollout/staleness"
OVERLAP = "overlap/"
MISMATCH_KL = "sampler/mismatch_kl"

HELD_OUT = "eval/held_out/"
HELD_OUT_ACCURACY = "eval/held_out/accuracy"
HELD_OUT_GREEDY = "eval/held_out/greedy"
HELD_OUT_PASS = "eval/held_out/pass@"

THROUGHPUT = "throughput/"
