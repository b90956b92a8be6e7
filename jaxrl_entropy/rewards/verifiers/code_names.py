"""Names that judges put in front of every program, for those that use them.

The graders of LeetCode, APPS, TACO and LiveCodeBench start a program with
`from typing import *` and the like. Here a name is imported if the program uses
it, so that no built-in function is hidden and most programs import nothing.
"""

from contextlib import suppress
import importlib
from types import CodeType

MODULES = frozenset(
  """bisect collections copy datetime decimal fractions functools heapq io
  itertools json math operator os queue random re statistics string sys time
  typing""".split()  # noqa: SIM905
)
_NAMES = {
  "typing": """Any Callable DefaultDict Deque Dict FrozenSet Generator Iterable
    Iterator List Mapping NamedTuple Optional Sequence Set Tuple Type TypeVar
    Union""",
  "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
  "heapq": """heapify heappop heappush heappushpop heapreplace nlargest
    nsmallest""",
  "bisect": "bisect_left bisect_right insort insort_left insort_right",
  "functools": "cache cmp_to_key lru_cache partial reduce wraps",
  "itertools": """accumulate chain combinations combinations_with_replacement
    count cycle groupby islice pairwise permutations product repeat starmap
    takewhile zip_longest""",
  "math": """acos asin atan atan2 ceil comb cos dist e exp fabs factorial floor
    gcd hypot inf isclose isqrt lcm log log10 log2 nan perm pi prod sin sqrt tan
    trunc""",
  "operator": "add attrgetter itemgetter mul or_ sub xor",
  "random": "choice randint randrange shuffle",
  "string": """ascii_letters ascii_lowercase ascii_uppercase digits
    punctuation""",
  "copy": "deepcopy",
  "datetime": "date timedelta",
  "decimal": "Decimal",
  "fractions": "Fraction",
  "io": "BytesIO StringIO",
  "queue": "PriorityQueue Queue",
  "statistics": "mean median",
  "sys": "maxsize setrecursionlimit stdin stdout",
}
_MODULE_OF = {
  n: module for module, names in _NAMES.items() for n in names.split()
}


def provide(code: CodeType, namespace: dict) -> None:
  """Adds the common names that `code` uses to the namespace it will run in.

  Args:
    code: a compiled program.
    namespace: changed in place; names that it has are kept.
  """
  for name in used_names(code) - namespace.keys():
    if name in MODULES:
      namespace[name] = importlib.import_module(name)
    elif name in _MODULE_OF:
      module = importlib.import_module(_MODULE_OF[name])
      namespace[name] = getattr(module, name)
    elif name == "np":
      with suppress(ImportError):  # unless reward.packages has it
        namespace[name] = importlib.import_module("numpy")


def used_names(code: CodeType) -> set[str]:
  """Returns the global names and the attributes in `code` and its functions."""
  nested = (used_names(c) for c in code.co_consts if isinstance(c, CodeType))
  return set(code.co_names).union(*nested)
