"""Training: the one loop, sampler, schedule, precision, processes, checkpoint, and checks of what was trained."""
