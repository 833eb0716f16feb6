"""A SPI flash of mode 0 that sleeps until it is woken, for tests of what reads it."""


class SpiFlash:
    """Commands 0xab and 0x03, bit by bit, and all that can be wrong with them.

    Parameters
    ----------
    contents : dict of int to bytes
        By address; the rest is erased.
    wake : int
        Cycles that it takes to wake up.
    """

    def __init__(self, contents, wake=72):
        self._contents, self._wake = contents, wake
        self.commands = []
        self.read = 0
        """Bits that have been read."""

    def _bit(self, index):
        address, bit = divmod(index, 8)
        for start, raw in self._contents.items():
            if 0 <= address - start < len(raw):
                return raw[address - start] >> (7 - bit) & 1
        return 1

    async def testbench(self, ctx, select, clock, data, answer):
        """Follow the pins of a master, and set the one that it reads."""
        bits, before, chosen, now, awake, out = [], 0, 0, 0, None, None
        async for _, _, s, c, d in ctx.tick().sample(select, clock, data):
            now += 1
            if s and not chosen:
                assert not c, "mode 0: the clock is low when the flash is chosen"
                bits, out = [], None
            if s and c and not before:
                bits.append(d)
                if len(bits) == 32 and self._byte(bits) == 0x03:
                    assert awake is not None
                    assert now - awake >= self._wake, "it sleeps still"
                    out = 8 * sum(bit << (23 - k) for k, bit in enumerate(bits[8:]))
                elif len(bits) > 32:
                    self.read += 1
            if s and before and not c and out is not None:
                ctx.set(answer, self._bit(out))
                out += 1
            if chosen and not s:
                self.commands.append(self._byte(bits))
                if self.commands[-1] == 0xab and len(bits) == 8:
                    awake = now
            before, chosen = c, s

    @staticmethod
    def _byte(bits):
        return sum(bit << (7 - k) for k, bit in enumerate(bits[:8]))
