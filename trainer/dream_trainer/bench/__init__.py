"""Measures training, generation and checkpoints on the device there is: `python -m dream_trainer bench COMMAND`."""
