"""Post-training quantisation: a trained torch network becomes an integer graph.

`trace` and `reading` read the network into `stage` records, `model` turns these into operations one
after the other (`layer` one of them, `choice` their formats and steps), with `weights`, `scales`
and `affine` for the numbers, and `run` does it for a checkpoint. `qat` trains with rounding before.
The method is described in ``docs/quantization.md``.
"""
