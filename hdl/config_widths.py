"""Widths of control: what follows from a configuration and the ranges of its fields."""

from .ranges import full_range, value_bits

__all__ = ["Widths"]


class Widths:
    """How wide counters, addresses and coordinates are; a base of `Config`."""

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
