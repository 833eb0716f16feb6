"""Post-training quantisation: a trained torch network becomes an integer graph.

`trace` runs the network and notes its calls (`tracer`, `functions`, `inplace`), `reading` makes
`stage` records of them, kind by kind (`layers`, the registry; `build`), and `guard` compares these
with the network. `model` turns stages into operations one after the other (`layer` one of them,
`choice` their formats and steps), with `weights`, `scales`, `affine` and `steps` for the numbers,
and `run` does it for a checkpoint. `qat` trains with rounding before. The method is described in
``docs/quantization.md``.
"""
