"""`python -m tftrain`."""

import sys

from tftrain.cli import run_process

sys.exit(run_process())
