"""Trainer, sampler and grader for Dream, a masked-diffusion language model."""

__version__ = "0.1.0"
