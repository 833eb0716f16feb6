"""Post-training quantisation: a trained torch network becomes an integer graph.

`walk` reads the network into `stage` records, `model` turns these into operations one after the
other, with `weights`, `scales` and `affine` for the numbers, and `run` does it for a checkpoint.
The method is described in ``docs/quantization.md``.
"""
