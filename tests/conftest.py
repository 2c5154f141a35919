"""Before anything imports torch: test processes run side by side, so each takes one core."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
