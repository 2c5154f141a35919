"""What the engine takes from outside because results depend on it. These numbers are in every code digest.

The engine itself is in none (`wsss.engine` says why), so a change of these two facts has to be told here.
"""

FILES = 1  # the form of index.json, shards and journals; one more where readers cannot take what an older engine wrote
WORKER_THREADS = 1  # of each forked worker: a sum that is split among threads may round otherwise
