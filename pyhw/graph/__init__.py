"""The integer graph: what a quantised network means, down to the last bit.

`ops` declares the operations, `infer` their shapes, formats and bounds, `verify` the rules that a
graph must keep, `execute` the golden executor that defines every result, `file` the model file.
"""
