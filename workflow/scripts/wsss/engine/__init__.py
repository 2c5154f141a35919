"""Plumbing: it decides whether, when and where a stage works, never what its files hold. No code digest covers it.

Here is what a task is and how it starts and ends, which images are done and which are still to do, atomic writing,
indexes and journals, signals, worker processes, downloads, SLURM jobs, and the command that repairs a file.

Where the line runs. A code digest (`wsss.plan.code_digest`) must change when a result may change, and should change then
only: a network is trained for days. So a module is in the engine when no edit of it, unless it is a plain mistake,
can give another array, weight or figure. These look like plumbing and are on the other side, because results
depend on them by value:

- the order of samples and which images share a batch (`wsss.train.sampler`, `wsss.data.inference`);
- the training loop and its checkpoint, the device, number types, how processes share a batch (`wsss.train`);
- what a file of results holds: number types, rounding, normalisation (`wsss.io`), and the hash that draws a sample
  of images (`wsss.digest.stable_hash`).

Three rules keep it so, and tests hold them. The engine imports from the rest of the library only
`wsss.plan.code_digest.BELOW_ENGINE`, and those modules are in every digest; so nothing that shapes results hides behind
it. It computes nothing with arrays: no NumPy, no OpenCV, nor PyTorch. A fact of it
that results depend on is a number in `wsss.fixed`.

When the engine's own files change their form (index.json, shards, journals) so that an older one cannot be read,
`wsss.fixed.FILES` goes up by one. That changes every digest. Snakemake then runs every stage again before anything
reads the older index, and no journal is resumed, because fingerprints hold the digests. Only imported folders are
made by commands and not by stages: a reader takes their older form, or refuses it and names the command.
"""
