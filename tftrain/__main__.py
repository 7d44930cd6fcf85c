"""`python -m tftrain`."""

import sys

from tftrain.cli.commands import run_process

sys.exit(run_process())
