"""wsss: weakly-supervised semantic segmentation from image-level labels.

The library behind the workflow. `stages` has one module a workflow stage, which works on files. `engine` is the plumbing
under all stages and shapes no result. `data`, `nets`, `methods`, `wrappers`, `refine`, `saliency`, `score`, `train`, `io`,
`imports` and `report` hold the parts that stages are made of. Nothing in here imports Snakemake.
"""

__version__ = "0.1.0"
