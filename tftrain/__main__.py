"""`python -m tftrain`."""

import sys

from tftrain.cli import main

sys.exit(main())
