"""`python -m efficiency_cli` is `effcli`."""

from __future__ import annotations

import sys

from efficiency_cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
