"""Random transformers: every operation of attention, norms and mixtures, corners included."""

import numpy as np

from pyhw.hdl.formats import Format, terms_value
from pyhw.hdl.signed_digits import nearest_terms, signed_digits

from .execute import value_of
from .infer import operand_types
from .ops import (
    Concat,
    Constant,
    Conv,
    Experts,
    Graph,
    Input,
    MapType,
    MatMul,
    Operation,
    Permute,
    Pointwise,
    Pool,
    Route,
    Slice,
    Stats,
    Transpose,
)  # fmt: skip
from .ops.matmul import possible
from .post import DUMMY, Post, Step, token_step
from .random_post import PostChoice, fit_post
from .terms import coded_term, distance_term
from .verify import verify

__all__ = ["random_transformer"]

CODED = coded_term()
"""Term of linear layers and of products of maps."""
PLAIN = distance_term()
"""Term of distances between maps."""
U8, S8 = Format(8), Format(8, True)


def random_transformer(seed: int) -> tuple[Graph, np.ndarray]:
    """Draw a small transformer, and images on which its corners show.

    Heads, slices and token counts are drawn freely (one token, one head and one channel among
    them), so are the attention's form (softmax of one to three digits, linear, L1) and whether
    blocks have mixtures; scores saturate and experts stay empty in some. Of the images the first
    is 0, the second has equal channels, so that rows have no variance.

    Parameters
    ----------
    seed : int
        The same seed gives the same network and images.

    Returns
    -------
    graph : Graph
        A graph that keeps the rules.
    images : int16 array (6, H, W, C)
    """
    return _Transformer(np.random.default_rng([seed, 20]), f"transformer{seed}").draw()


class _Transformer:
    """One network in the making: operations so far, what is known of them, their values."""

    def __init__(self, rng: np.random.Generator, name: str) -> None:
        self.rng, self.name = rng, name
        self.heads = self.pick(1, 4)
        self.channels = self.heads * self.pick(1, 7)
        height, width = (1, 1) if self.chance(0.1) else (self.pick(1, 6), self.pick(1, 6))
        self.tokens = height * width
        signed = self.chance(0.5)
        first = self.channels if self.chance(0.5) else self.pick(1, 5)
        self.image = Input(name="image", shape=(height, width, first), fmt=Format(8, signed))
        fmt = self.image.fmt
        images = rng.integers(fmt.min, fmt.max + 1, (6, *self.image.shape)).astype(np.int16)
        images[0] = 0
        images[1] = images[1, :, :, :1]
        images[2] = rng.choice([fmt.min, fmt.max], images[2].shape)
        self.images = images
        self.ops: list[Operation] = []
        self.known: dict[str, MapType] = {}
        self.values: dict[str, np.ndarray] = {}
        self.add(self.image)

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def draw(self) -> tuple[Graph, np.ndarray]:
        """Return the network and its images."""
        x = "image"
        if self.chance(0.4):
            x = self.norm(x, self.stored())
        x = self.embedded(x)
        for _ in range(self.pick(1, 2)):
            x = self.residual_add(x, self.attention(self.norm(x, self.stored())))
            mix = self.mixture if self.chance(0.4) else self.mlp
            x = self.residual_add(x, mix(self.norm(x, self.stored())))
        if self.chance(0.5):
            height, width, _ = self.known[x].shape
            x = self.narrow(x)
            pool = Pool(name=self.free("pool"), input=x, kind="sum", kernel=(height, width),
                        stride=(1, 1), post=DUMMY)  # fmt: skip
            x = self.fitted(pool, self.stored())
        elif self.chance(0.5):
            x = self.add(Transpose(name=self.free("transpose"), input=self.narrow(x)))
        x = self.linear(self.narrow(x), self.pick(2, 6), Format(self.pick(8, 24), True))
        return verify(Graph(self.name, tuple(self.ops), x)), self.images

    # Operations --------------------------------------------------------------------------------

    def free(self, name: str) -> str:
        return f"{name}{len(self.ops)}"

    def stored(self) -> Format:
        return Format(self.pick(5, 8) if self.chance(0.3) else 8, self.chance(0.7))

    def add(self, op: Operation) -> str:
        """Append an operation; return its name."""
        operands = operand_types(op, self.known)
        self.values[op.name] = value_of(op, self.values, operands, self.images)
        self.known[op.name] = op.infer(*operands)
        self.ops.append(op)
        return op.name

    def fitted(self, op: Operation, fmt: Format, residual: str | None = None,
               table: bool = False, second: bool = False) -> str:  # fmt: skip
        """Append an operation with post-processing that fits its accumulators."""
        operands = operand_types(op, self.known)
        acc = op.compute(tuple(self.values[name] for name in op.operands), operands)
        choice = PostChoice(fmt=fmt, terms=self.pick(1, 3), table=table and fmt.width <= 8,
                            second=second and fmt.width <= 16, residual=residual)  # fmt: skip
        return self.add(op.with_post(fit_post(self.rng, acc, choice, self.values)))

    def linear(self, x: str, out: int, fmt: Format, residual: str | None = None,
               table: bool = False) -> str:  # fmt: skip
        """Append a linear layer on every token."""
        shape = (self.pick(1, 3), out, 1, 1, self.known[x].channels)
        conv = Conv(name=self.free("linear"), input=x, term=CODED, post=DUMMY, code_width=4,
                    sign=self.rng.integers(-1, 2, shape), exponent=self.rng.integers(0, 5, shape),
                    )  # fmt: skip
        return self.fitted(conv, fmt, residual, table, second=self.chance(0.2))

    def narrow(self, x: str) -> str:
        """Return a value of at most 8 bits: the value itself, or a copy."""
        if self.known[x].fmt.width <= 8:
            return x
        return self.fitted(Pointwise(name=self.free("narrow"), input=x, post=DUMMY), self.stored())

    def embedded(self, x: str) -> str:
        """Append the first linear layer, with positions added."""
        height, width, _ = self.known[x].shape
        fmt = Format(self.pick(6, 16), True)
        values = self.rng.integers(fmt.min, fmt.max + 1, (height, width, self.channels))
        where = self.add(Constant(name=self.free("positions"), values=values, fmt=fmt))
        stream = Format(16, True) if self.chance(0.4) else S8
        return self.linear(x, self.channels, stream, where)

    def residual_add(self, x: str, more: str) -> str:
        """Add a block's result to the stream."""
        kept = self.known[x].fmt
        if self.known[more].fmt.width > 8:
            more = self.narrow(more)
        return self.fitted(Pointwise(name=self.free("add"), input=more, post=DUMMY), kept, x)

    def by_token(self, op: Operation, fmt: Format, token: str, table: np.ndarray | None = None,
                 table_format: Format | None = None) -> str:  # fmt: skip
        """Append an operation whose first step takes records of tokens."""
        channels = op.infer(*operand_types(op, self.known)).channels
        post = Post(token_step(channels, fmt), table=table, table_format=table_format, token=token)
        return self.add(op.with_post(post))

    # Blocks ------------------------------------------------------------------------------------

    def norm(self, x: str, fmt: Format) -> str:
        """Append a layer norm, or an L2 norm of every head."""
        kind = "layer" if self.chance(0.7) else "l2"
        heads = self.heads if self.known[x].channels % self.heads == 0 and kind == "l2" else 1
        token = self.add(Stats(
            name=self.free("stats"), input=x, kind=kind, heads=heads, terms=self.pick(1, 4),
            fraction=self.pick(3, 6), floor=self.pick(1, 50)))  # fmt: skip
        point = Pointwise(name=self.free("norm"), input=x, post=DUMMY)
        return self.by_token(point, fmt, token)

    def attention(self, x: str) -> str:
        """Append attention of any form, and its projection."""
        slices = self.pick_divisor(self.tokens)
        if slices > 1 and self.chance(0.5):
            order = self.rng.permutation(self.tokens)
            x = self.add(Permute(name=self.free("permute"), input=x, index=order))
        form = self.rng.choice(["softmax", "linear", "distances"], p=[0.5, 0.3, 0.2])
        q, k, v = self.projections(x)
        forms = {"softmax": self.softmax, "linear": self.linear_attention,
                 "distances": self.distances}
        made = forms[str(form)](q, k, v, slices)
        return self.linear(made, self.channels, S8)

    def pick_divisor(self, count: int) -> int:
        return int(self.rng.choice([d for d in range(1, count + 1) if count % d == 0]))

    def projections(self, x: str) -> list[str]:
        """Return q, k and v: slices of one linear layer, or three."""
        if self.chance(0.5):
            return [self.linear(x, self.channels, S8) for _ in range(3)]
        height, width, _ = self.known[x].shape
        together = self.linear(x, 3 * self.channels, S8)
        return [
            self.add(Slice(name=self.free("slice"), input=together,
                           start=(0, 0, part * self.channels),
                           stop=(height, width, (part + 1) * self.channels)))
            for part in range(3)
        ]  # fmt: skip

    def product(self, a: str, b: str, form: str, slices: int, term: str = CODED) -> MatMul:
        """Return a product of as many digits as its operands ask for."""
        coded = "a" if self.chance(0.5) else "b"
        width = self.pick(4, 5) if term == CODED else None
        digits = 1
        if width is not None:
            values = possible(self.known[a if coded == "a" else b])
            most = (1 << (width - 1)) - 2
            digits = max(1, *(len(signed_digits(value, most)) for value in values))
        return MatMul(name=self.free("matmul"), a=a, b=b, form=form, post=DUMMY, heads=self.heads,
                      slices=slices, term=term, coded=coded, digits=digits,
                      code_width=width)  # fmt: skip

    def softmax(self, q: str, k: str, v: str, slices: int, term: str = CODED) -> str:
        """Append scores, their softmax in base 2, and the weighted sum of v."""
        fmt = Format(self.pick(8, 12), True)
        scores = self.fitted(self.product(q, k, "nt", slices, term), fmt)
        if self.chance(0.3):  # saturated scores
            scores = self.fitted(Pointwise(name=self.free("loud"), input=scores, post=DUMMY), S8)
            op = self.ops[-1]
            step = op.posts[0].first
            louder = Step(step.m_sign, step.m_exponent, step.bias, np.maximum(step.shift - 3, 0),
                          step.fmt)  # fmt: skip
            self.ops.pop()
            scores = self.add(op.with_post(Post(louder)))
        places = self.pick(2, 4)
        top = self.add(Stats(name=self.free("stats"), input=scores, kind="max", terms=1,
                             heads=self.heads, fraction=places))  # fmt: skip
        weights = self.by_token(
            Pointwise(name=self.free("exp"), input=scores, post=DUMMY), S8, top,
            exponential(places, self.pick(1, 3)), U8)  # fmt: skip
        total = self.add(Stats(name=self.free("stats"), input=weights, kind="sum",
                               heads=self.heads, terms=self.pick(1, 4),
                               fraction=self.pick(0, 2)))  # fmt: skip
        return self.by_token(self.product(weights, v, "nn", slices), S8, total)

    def distances(self, q: str, k: str, v: str, slices: int) -> str:
        """Append attention whose scores are distances."""
        return self.softmax(q, k, v, slices, PLAIN)

    def linear_attention(self, q: str, k: str, v: str, slices: int) -> str:
        """Append ``Q (K^T V)`` of binary q and k, plus a convolution of v."""
        q, k = self.binary(q), self.binary(k)
        memory = self.fitted(self.product(k, v, "tn", slices), S8)
        made = self.fitted(self.product(q, memory, "nn", slices), S8)
        shape = (2, self.channels, 3, 3, 1)
        conv = Conv(name=self.free("values"), input=v, term=CODED, post=DUMMY, code_width=4,
                    sign=self.rng.integers(-1, 2, shape), exponent=self.rng.integers(0, 5, shape),
                    groups=self.channels, padding=(1, 1, 1, 1))  # fmt: skip
        return self.fitted(conv, S8, made)

    def binary(self, x: str) -> str:
        """Append what makes a value 0 or 1, or -1 or 1, by a threshold."""
        fmt, low = self.known[x].fmt, -self.pick(0, 1)
        table = np.full(256, low)
        table[np.arange(self.pick(-9, 9), fmt.max + 1) & 0xFF] = 1
        step = token_step(self.known[x].channels, fmt)  # keeps the value
        return self.add(Pointwise(name=self.free("binary"), input=x, post=Post(
            step, table=table, table_format=Format(2, low < 0))))  # fmt: skip

    def mlp(self, x: str) -> str:
        """Append two linear layers with a function between them."""
        inner = self.linear(x, self.pick(1, 12), self.stored(), table=True)
        if self.chance(0.3):
            inner = self.add(Concat(name=self.free("concat"), inputs=(inner, inner)))
        return self.linear(inner, self.channels, S8)

    def mixture(self, x: str) -> str:
        """Append experts, all of one width, and the gate's probability of the one taken."""
        count = self.pick(2, 3)
        logits = self.linear(x, count, S8)
        if self.chance(0.3):  # a tie everywhere: the first expert takes all
            op = self.ops.pop()
            step = op.posts[0].first
            zero = Step(0 * step.m_sign, step.m_exponent, 0 * step.bias, step.shift, S8)
            logits = self.add(op.with_post(Post(zero)))
        route = self.add(Route(name=self.free("route"), input=logits))
        branches = []
        for _ in range(count):
            inner = self.linear(x, self.pick(1, 6), S8, table=True) if self.chance(0.5) else x
            branches.append(self.linear(inner, self.channels, S8))
        made = self.add(Experts(name=self.free("experts"), route=route, branches=tuple(branches)))
        top = self.add(Stats(name=self.free("stats"), input=logits, kind="max", terms=1))
        places = self.pick(2, 4)
        weights = self.by_token(Pointwise(name=self.free("exp"), input=logits, post=DUMMY), S8,
                                top, exponential(places, 3), U8)  # fmt: skip
        gate = self.add(Stats(name=self.free("stats"), input=weights, kind="sum", fraction=7))
        return self.by_token(Pointwise(name=self.free("gate"), input=made, post=DUMMY), S8, gate)


def exponential(places: int, digits: int) -> np.ndarray:
    """Return ``128 * 2**(t / 2**places)`` of s8 values t to at most so many digits."""
    table = np.zeros(256, np.int64)
    for t in range(-128, 1):
        wanted = 128 * 2.0 ** (t / (1 << places))
        table[t & 0xFF] = terms_value(nearest_terms(wanted, digits, 7))
    table[-128 & 0xFF] = 0
    return table
