"""The one training loop: sampler, schedule, precision, checkpoint, resume."""
