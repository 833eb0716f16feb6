"""Latencies of the gateware, as functions of the configuration.

The compiler's cycle model needs them without importing gateware. A test compares each with
the component that it describes.
"""

from dataclasses import dataclass

from .config import Config
from .engines.registry import POOLING, engine_of
from .expansion import BURST_RESTART, PIPELINE, visits
from .packing import codes_per_word

__all__ = ["Timing", "copy_bytes", "copy_pieces"]


def copy_bytes(config):
    """Return the bytes that a copy moves a cycle: what port A reads and port B writes at once."""
    return min(config.read_lanes, max(4, config.post.width))


def copy_pieces(config, layer, slots):
    """Return the cycles in which a copy asks for bytes."""
    nest = layer.nest
    return nest.n_xy * slots * config.groups * -(-nest.rows // copy_bytes(config))


def _levels(count):
    """Return the levels of a tree of adders."""
    return (count - 1).bit_length()


@dataclass(frozen=True)
class Timing:
    """Cycles between events of one accelerator.

    "Take" is the moment when a step's first vector passes the point where weights switch.
    """

    config: Config

    start_to_request = 1
    """Start of the store stage to the request for the first records."""
    compute_to_store = 1
    """Start of the compute stage to the start of the store stage, if the layer before is stored by
    then."""
    free_to_start = 1
    """End of the compute stage to its start with the next layer, if that is fetched."""
    store_to_start = 1
    """Start of the store stage to the start of the compute stage with the layer after."""
    burst_restart = BURST_RESTART
    """Weight expander: cycles by which the first word of a burst is later than of a step."""

    @property
    def link(self):
        """A link between units that lie far apart."""
        return self.config.build.link_cycles

    @property
    def result_latency(self):
        """Engine, from result request to values."""
        return 3 + self.link

    @property
    def start_to_words(self):
        """Start of the compute stage to the first weight word."""
        return 2 + self.link

    @property
    def expanded(self):
        """Cycles for the first word of a masked layer's step, and for all of its words."""
        engine = self.config.engines[self.config.masked]
        ends = [k + 1 for k, visit in enumerate(visits(
            engine.rows, engine.lanes,
            codes_per_word(self.config.weights.load_bits, engine.code_width),
            self.config.expand_lanes)) if visit.word_end]
        return ends[0], ends[-1]

    def start_to_expanded(self, lanes):
        """Start of a masked layer to the first word of its codes; `lanes`: of its first step."""
        return max(self.start_to_words + BURST_RESTART, lanes + 1) + self.expanded[0] + PIPELINE - 1

    @property
    def write_to_store(self):
        """Last result written to the start of the store stage for the next layer."""
        return 2 + self.link

    @property
    def write_to_halt(self):
        """Last result of the last layer written to the end of the run."""
        return 3 + self.link

    @property
    def store_to_issue(self):
        """Start of the store stage to the first vector that the compute stage issues after waiting
        for it.
        """
        return self.link

    @property
    def fetch_overhead(self):
        """Cycles of a fetch besides its words and the image slots."""
        return 4 + self.link

    @property
    def scratchpad_latency(self):
        """Port A, from address to data."""
        return 4 + self.link

    @property
    def residual_latency(self):
        """Scratchpad's port B, from address to data."""
        return 4 + 2 * self.link

    @property
    def write_to_tail(self):
        """Last result before the last burst written to the tail of the layer, seen by the compute
        stage.
        """
        return 1 + self.link

    @property
    def read_to_stall(self):
        """Residual asked for to the stall of port A, where port B reads through it."""
        return 1 + self.link

    @property
    def issue_to_take(self):
        """Issue of a vector to its take; it may be issued 1 cycle after what it waits for."""
        return 1 + self.link + self.scratchpad_latency

    def take_to_last(self, engine):
        """Take of a vector to the strobe that an engine has accumulated it."""
        taken = 1 + self.link + self.config.build.accumulator_latency
        return taken + engine_of(engine).latency(self.config)

    def take_to_free(self, engine):
        """Last vector passed to the end of the compute stage: it has been accumulated."""
        return self.take_to_last(engine) + 1 + self.link

    @property
    def copy_to_write(self):
        """Bytes that a copy asks for to their write."""
        return 2 + self.scratchpad_latency

    @property
    def copy_to_free(self):
        """Last bytes that a copy asks for to the end of the compute stage."""
        return 1 + self.config.build.link_cycles

    @property
    def freed_ahead(self):
        """Store unit: cycles from the strobe that a bank is free to the last request of its burst.

        A vector that is issued on the strobe reaches its accumulator after that request:
        where a sum is registered first, a cycle before it.
        """
        engines = [POOLING, *self.config.engines]
        least = min(self.take_to_last(name) for name in engines)
        return self.issue_to_take - 1 + least - (self.config.build.accumulator_latency - 1)

    @property
    def meet(self):
        """Result request to values with their residuals."""
        return max(self.result_latency, self.residual_latency) if self.config.residual.exists else (
            self.result_latency)

    @property
    def request_to_ready(self):
        """Request for records to their being loaded."""
        return self.config.post.width + 2 + self.link

    @property
    def take_to_request(self):
        """First result of a vector to the request for the next vector's records."""
        return self.meet - 1

    @property
    def post_latency(self):
        """Values to bytes."""
        config = self.config
        tree = 1 + _levels(config.post.terms + 1)
        addend = 1 + _levels(config.residual.terms) + config.post.second_step
        latency = (max(tree, addend) if config.residual.exists
                   else tree) + config.residual.exists + 2
        latency += bool(config.post.tables)
        if config.post.second_step:
            latency += tree + config.residual.exists + 2
        return latency + 1

    @property
    def issue_to_write(self):
        """Result request to the write of the result."""
        return self.meet + self.post_latency
