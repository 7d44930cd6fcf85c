"""`python -m tftrain`."""

import sys

from tftrain.cli.main import run_process

sys.exit(run_process())
