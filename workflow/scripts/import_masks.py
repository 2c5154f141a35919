"""Command, no rule: docs/import.md"""

import sys

from wsss.imports.masks import main

if __name__ == "__main__":
    sys.exit(main())
