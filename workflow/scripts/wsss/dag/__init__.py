"""Between Snakemake and the plan: rules, mistakes in one line, checks before a run."""
