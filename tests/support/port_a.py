"""Port A of a scratchpad as a unit that reads through it sees it."""


class PortA:
    """Bytes of a memory, `latency` enabled cycles after their address.

    Parameters
    ----------
    memory : bytes-like
    latency, lanes : int
    """

    def __init__(self, memory, latency, lanes):
        self._memory, self._lanes, self._way = bytes(memory) + bytes(lanes), lanes, [0] * latency

    def show(self, ctx, port):
        """Put the bytes that are there in this cycle on a port."""
        ctx.set(port, list(self._memory[self._way[-1]:][:self._lanes]))

    def move(self, address):
        """Go on by a cycle, with the address asked for."""
        self._way = [address, *self._way[:-1]]
