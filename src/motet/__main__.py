"""``python -m motet`` is the `motet` command."""

import sys

from motet.cli.main import main

sys.exit(main())
