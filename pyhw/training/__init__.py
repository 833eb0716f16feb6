"""Training: data, recipe, loop and checkpoints. The data side works without PyTorch."""
