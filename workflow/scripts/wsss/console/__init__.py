"""What a run shows in the terminal, and who holds its lock. No Snakemake and no torch: its records come by their attributes."""
