"""wsss: weakly-supervised semantic segmentation from image-level labels.

The library behind the workflow: `data`, `nets`, `methods`, `refine`, `score`, `train`, `io` and
`report` hold pure parts; `stages` runs one workflow stage each on files. Nothing in here knows Snakemake.
"""

__version__ = "0.1.0"
