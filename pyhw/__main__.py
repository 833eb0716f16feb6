"""Run the command line as ``python -m pyhw``."""

import sys

from pyhw.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
