"""`python -m jaxrl_entropy` is `jaxrl-entropy`."""

import sys

from jaxrl_entropy.cli.main import main

if __name__ == "__main__":
  sys.exit(main())
