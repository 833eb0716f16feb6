"""What stands around the units: memories, the byte port, how all is built; one record each."""

from dataclasses import dataclass

from .config_checks import check_all

__all__ = ["BuildConfig", "MemoryConfig", "PortConfig"]


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """The memories, weights apart."""

    scratch_bytes: int = 16384
    """Activation bytes per group, 64..2^22; a multiple of `Config.banks`."""
    program_words: int = 1024
    """32-bit words of instructions, 64..65536."""
    param_records: int = 256
    """Records of channel parameters, one per output channel of every layer, 1..65536."""
    index_entries: int = 0
    """Entries of index lists (gathered positions), 0..65536; 0 leaves the unit out."""

    def __post_init__(self):
        check_all(self, "Config.memory", scratch_bytes=(64, 1 << 22),
                   program_words=(64, 1 << 16), param_records=(1, 1 << 16),
                   index_entries=(0, 1 << 16))


@dataclass(frozen=True, kw_only=True)
class PortConfig:
    """The byte port. Only `max_payload` is part of the hash."""

    max_payload: int = 1024
    """Largest payload of a frame, bytes; a power of two, 64..4096."""
    frame_timeout: int = 1 << 20
    """Cycles of silence inside a frame after which it is dropped, 16..2^30."""
    counted_layers: int = 1
    """Sets of performance counters, one for each layer of a run, to 64; 0 leaves the counters
    out."""
    flash_loader: bool = False
    """On a serial line, play commands out of the board's SPI flash before the line is heard
    (`hdl/boards/flash_loader.py`)."""

    def __post_init__(self):
        check_all(self, "Config.port", max_payload=(64, 4096), frame_timeout=(16, 1 << 30),
                   counted_layers=(0, 64))
        if self.max_payload & (self.max_payload - 1):
            raise ValueError("Config.port.max_payload must be a power of two, "
                             f"not {self.max_payload}")


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How the accelerator is built; no program sees it, so it is not part of the hash."""

    overlap: bool = True
    """Whether a layer's weights and vectors may come while the one before is being stored; without,
    control keeps one instruction instead of three."""
    links: bool = False
    """Whether long wires end in registers, and vectors and codes pass from a cluster of rows to the
    next, which arrays of hundreds of lanes need for their clock; it takes some cycles more. Not
    with a depthwise unit."""
    distributed: bool = True
    """Accumulators in distributed RAM (ECP5, Gowin) rather than block RAM (iCE40)."""
    single_port: bool = False
    """Weight words in a memory of one port (iCE40UP's single-port RAM): the host's writes come
    first."""

    def __post_init__(self):
        check_all(self, "Config.build")

    @property
    def link_cycles(self):
        """Registers at the end of a wire between units that lie far apart."""
        return int(self.links)

    @property
    def keeps_vectors(self):
        """Whether what the scratchpad's port A has read is still there after port B has read."""
        return self.distributed or self.overlap

    @property
    def accumulator_latency(self):
        """Cycles from a sum to the first request that can read it."""
        return 1 + self.distributed
