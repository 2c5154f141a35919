"""Config files: how a recipe is put together from its layers (`resolve`), and what a whole one must hold (`checks`)."""
