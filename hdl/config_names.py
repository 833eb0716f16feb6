"""One flat name for every field of a configuration: short to write, and what old files have."""

from .engines.registry import POOLING, known_engines

__all__ = ["FLAT", "path_of"]

FLAT = {
    "pool_lanes": "pool.lanes", "pool_acc_width": "pool.acc_width", "pool_max": "pool.maximum",
    "taps": "depthwise.columns",
    "load_bits": "weights.load_bits", "weight_words": "weights.words",
    "prototypes": "weights.prototypes",
    "post_width": "post.width", "terms": "post.terms", "exponent": "post.exponent",
    "sum_bits": "post.sum_bits", "second_step": "post.second_step", "tables": "post.tables",
    "residual_terms": "residual.terms", "residual_wide": "residual.wide",
    "copy": "moves.copy",
    "scratch_bytes": "memory.scratch_bytes", "program_words": "memory.program_words",
    "param_records": "memory.param_records", "index_entries": "memory.index_entries",
    "max_payload": "port.max_payload", "frame_timeout": "port.frame_timeout",
    "counted_layers": "port.counted_layers", "flash_loader": "port.flash_loader",
    "overlap": "build.overlap", "spread": "build.links", "distributed": "build.distributed",
    "single_port": "build.single_port",
}
"""Path of a field by its flat name; the fields of `Config` itself have no other name, and engines
have their own."""


def path_of(name):
    """Return part and field of a flat or dotted name; the part of `Config`'s own fields is ''.

    Engines need no ``engines.`` before their names.
    """
    if name != POOLING and name.partition(".")[0] in known_engines():
        name = f"engines.{name}"
    part, _, field = FLAT.get(name, name).rpartition(".")
    return part, field
