"""Named configurations."""

from .config import (
    BuildConfig,
    Config,
    EngineConfig,
    MemoryConfig,
    PoolConfig,
    PortConfig,
    PostConfig,
    WeightsConfig,
)

__all__ = ["PRESETS"]


def _engines(rows, lanes, shift_rows=None, shift_lanes=None):
    return {
        "l1": EngineConfig(rows=rows, lanes=lanes, code_width=8, acc_width=20),
        "shift": EngineConfig(rows=shift_rows or rows, lanes=shift_lanes or lanes, code_width=4,
                              acc_width=24),
    }


PRESETS = {
    config.name: config
    for config in (
        Config(name="tiny", engines=_engines(4, 8), pool=PoolConfig(lanes=4), burst_depth=16,
               weights=WeightsConfig(load_bits=32, words=1024), post=PostConfig(width=1, tables=1),
               memory=MemoryConfig(scratch_bytes=4096, param_records=64, program_words=512),
               port=PortConfig(max_payload=256), build=BuildConfig(distributed=False)),
        Config(name="default", groups=2, engines=_engines(8, 16), pool=PoolConfig(lanes=8),
               burst_depth=32, weights=WeightsConfig(load_bits=256, words=2560),
               post=PostConfig(width=2),
               memory=MemoryConfig(scratch_bytes=65536, param_records=512, index_entries=1024)),
        Config(name="large", groups=4, engines=_engines(16, 32, 16, 16), pool=PoolConfig(lanes=16),
               burst_depth=32, weights=WeightsConfig(load_bits=512, words=4608),
               post=PostConfig(width=16),
               memory=MemoryConfig(scratch_bytes=32768, param_records=1024, index_entries=1024)),
    )
}
"""`tiny` (quick to simulate and to synthesise), `default` and `large` (for simulation; no ECP5
holds it)."""
