"""What follows from a configuration and the ranges of its fields: shapes of units and memories, and
widths of control.
"""

from .engines.registry import engine_of
from .expansion import BURST_RESTART, visit_count
from .packing import codes_per_word, word_count
from .ranges import full_range, value_bits

__all__ = ["CLUSTER_LANES", "Derived"]

CLUSTER_LANES = 128
"""Lanes of the rows of a cluster, where links have registers."""


class Derived:
    """How many lanes, banks and words there are, and how wide values, counters, addresses and
    coordinates; a base of `Config`.
    """

    def range_of(self, name):
        """Return lowest and highest value of an instruction field, as in ``nest.n_x``."""
        return self.ranges.get(name) or full_range(name)

    def bits_of(self, name):
        """Return the bits of a field's values, a sign among them."""
        return value_bits(*self.range_of(name))

    def counter_width(self, name):
        """Return the bits that count up to a field of an instruction: blocks take a record or
        more each, runs and their chunks a byte of the scratchpad.
        """
        most = {"nest.n_blocks": self.memory.param_records, "nest.rows": self.memory.param_records,
                "steps.n_chunks": self.memory.scratch_bytes + 7,
                "steps.run_bytes": self.memory.scratch_bytes + 7}
        return min(self.bits_of(name), most.get(name, 1 << 32).bit_length())

    @property
    def count_width(self):
        """Bits that count the positions of all slots: each of them takes a byte of the
        scratchpad.
        """
        most = self.range_of("nest.n_xy")[1] * self.range_of("control.n_slots")[1]
        return min((self.memory.scratch_bytes + 7).bit_length(), most.bit_length())

    @property
    def side_width(self):
        """Bits that count the columns of a map, with warm-up columns, or its rows."""
        columns = self.range_of("nest.n_x")[1]
        if self.depthwise.columns:
            columns += self.range_of("chain.warmup")[1]
        most = max(columns, self.range_of("nest.n_y")[1])
        return min((self.memory.scratch_bytes + 7).bit_length(), most.bit_length(), 16)

    @property
    def coordinate_width(self):
        """Bits of a signed byte coordinate in a row: up to two maps of the scratchpad's size
        beside it.
        """
        kernel = ((self.range_of("steps.n_kx")[1] - 1) * self.range_of("window.kx_xb")[1]
                  + self.range_of("steps.run_bytes")[1])
        reach = self.range_of("window.row_bytes")[1] + 2 * kernel + self.read_lanes
        return min(self.address_width + 2, reach.bit_length() + 1, 21)

    @property
    def row_width(self):
        """Bits of a signed row coordinate."""
        kernel = self.range_of("steps.n_ky")[1] * self.range_of("window.ky_iy")[1]
        return min((self.range_of("window.in_rows")[1] + 2 * kernel).bit_length() + 1, 17)

    @property
    def unfold_width(self):
        """Bits of an address of the map that images are written to, from any base."""
        size = self.range_of("input.out_rows")[1] * self.range_of("input.row_step")[1]
        return min((self.memory.scratch_bytes + size).bit_length(), 24)

    @property
    def masked(self):
        """Name of the engine whose codes a weight expander makes, or None."""
        return next((name for name in self.engines if engine_of(name).masked), None)

    def clusters(self, engine):
        """Return the rows of each cluster of an engine; one where links have no registers.

        Rows of a cluster have up to `CLUSTER_LANES` lanes together, unless one has more.
        """
        shape = self.engines[engine]
        size = max(CLUSTER_LANES // shape.lanes, 1) if self.build.link_cycles else shape.rows
        return [range(first, min(first + size, shape.rows))
                for first in range(0, shape.rows, size)]

    @property
    def read_lanes(self):
        """Bytes of an activation vector: the most lanes of any unit."""
        return max([self.pool.lanes] + [e.lanes for e in self.engines.values()])

    @property
    def most_pad_words(self):
        """Weight-memory words with the pad values of a vector, whole bytes in each."""
        return word_count(self.read_lanes, self.weights.load_bits, 8)

    @property
    def control_depth(self):
        """Words of the one memory for instructions and records, without `overlap`: a power of
        two, instructions from the first up and records from the last down.
        """
        return 1 << (self.memory.program_words + self.memory.param_records - 1).bit_length()

    @property
    def expand_lanes(self):
        """Codes that the weight expander makes per cycle: a power of two, 0 without one.

        The fewest that make a step's codes within a full burst, but no more than rows, lanes or
        half the bits of a memory word.
        """
        if self.masked is None or not self.weights.prototypes:
            return 0
        engine, width = self.engines[self.masked], 1
        per_word = codes_per_word(self.weights.load_bits, engine.code_width)
        most = min(engine.rows, engine.lanes, self.weights.load_bits // 2)
        while (2 * width <= most and self.burst_depth < BURST_RESTART
               + visit_count(engine.rows, engine.lanes, per_word, width)):
            width *= 2
        return width

    @property
    def reads_in_run(self):
        """Whether the host may read the scratchpad in a run: not where its reads would take the
        place of a layer's and layers have none like them.
        """
        return self.build.keeps_vectors or self.residual.exists

    @property
    def residual_bytes(self):
        """Bytes of a stored map that are read at once to be added; 0 without that unit."""
        return self.residual.exists * self.post.width * (1 + self.residual.wide)

    @property
    def banks(self):
        """One-byte scratchpad banks per group: a power of two that holds every vector."""
        need = max(self.read_lanes, 4, self.post.width, self.residual_bytes)
        return 1 << (need - 1).bit_length()

    @property
    def address_width(self):
        """Bits of a scratch address; sums of addresses are modulo a power of two."""
        return (self.memory.scratch_bytes - 1).bit_length()

    @property
    def value_width(self):
        """Bits of the signed value that an engine hands to the post-processor."""
        widths = [self.pool.acc_width]
        for name, engine in self.engines.items():
            widths.append(engine.acc_width + engine_of(name).value_bits)
        return max(widths)

    @property
    def sum_width(self):
        """Bits of the post-processor's sum before its right shift (and of a stored bias)."""
        return self.post.sum_bits or max(self.value_width + self.post.exponent + 2, 34) + 2
