"""The training recipe: one frozen record of everything that decides the trained weights."""

import math
import shlex
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pyhw.errors import UserError
from pyhw.nn.attention import FORMS
from pyhw.nn.kinds import OPS, asked_kinds
from pyhw.nn.models import MODELS, network_options
from pyhw.nn.options import LayerOptions
from pyhw.nn.shift import MAX_SPAN
from pyhw.training.data import DATASETS
from pyhw.training.methods import OPTIMIZERS, SCHEDULES, defaults, used_by

__all__ = ["ATTENTIONS", "GRADIENTS", "MLPS", "PRECISIONS", "SHARINGS", "Recipe", "from_saved",
           "make_recipe"]  # fmt: skip

PRECISIONS = ("float32", "bfloat16")
GRADIENTS = ("full", "sign")
ATTENTIONS = (*FORMS, "msa", "linear", "shiftadd")
MLPS = ("dense", "shift", "moe")
SHARINGS = ("dense", "one-layer", "mp", "rp")
_LAYERS = tuple(entry.name for entry in fields(LayerOptions))
_CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "gradient": GRADIENTS,
    "sharing": SHARINGS,
    "attention": ATTENTIONS,
    "mlp": MLPS,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: the published recipe unless said otherwise.

    Attributes
    ----------
    model : str
        Name of the network, a key of `pyhw.nn.models.MODELS`.
    ops : str
        Kind of its inner layers, one of `pyhw.nn.models.OPS`.
    data : str
        Name of the data set, one of `pyhw.training.data.DATASETS`.
    images : int
        Training images taken, drawn by the seed, and at most as many test images; 0 for all.
    epochs : int
        Passes over the training images, 1..10000.
    batch : int
        Images per step over all processes, 2..65536 (batch norm needs two).
    lr : float
        Highest learning rate; see `lr_at`.
    seed : int
        Decides initial weights, order and distortions, 0..2**31 - 1.
    momentum, weight_decay : float
        Momentum of SGD; decay of every parameter but the latent shifts and signs, and the
        parameters of layer norms, residual scales and position embeddings.
    increase : float
        Learning rate of adder layers' weights over `lr`, above 0, at most 1000: the paper's
        increased learning rate, its alternative to the adaptive step.
    shift : int
        Training images are moved by up to this many whole pixels either way, 0..8.
    turn : float
        Half of them are also turned by up to this many degrees either way, below 45,
    zoom : float
        and enlarged or shrunk by up to this fraction, below 0.5.
    flip : bool
        Every other image or so is mirrored, left to right.
    optimizer : {"sgd", "adamw", "radam"}
        What takes the steps.
    schedule : {"cosine", "steps", "ramp"}
        Course of the learning rate.
    warmup : float
        Epochs in which the learning rate first rises in proportion, at least 0 and below 100;
        `schedule` begins after them.
    smoothing : float
        Share of the label that is spread over all classes, at least 0 and below 1.
    mixup : float
        Each batch is blended with itself in another order, by a share drawn from a beta
        distribution with this parameter, and its labels likewise; 0 for no blending, below 10.
    precision : {"float32", "bfloat16"}
        Of products in training; weights, adder layers and tests are float32 either way.
    teacher : bool
        Train a convolutional teacher side by side and learn from it (PKKD).
    alpha, beta : float
        With a teacher: weight of the labels, and of its features, at least 0 and below 100.
    balance : float
        Weight of the routers' latency-aware loss (`pyhw.nn.mixture.Router`), at least 0 and below
        10.
    start : str
        Checkpoint whose weights the training starts from, of this network in any form; "" for fresh
        weights.
    learn_from : str
        Checkpoint of a trained teacher, any network for the same images: its answers take the place
        of the labels; "" for none.
    temperature : float
        Teacher's and student's logits are divided by this, above 0, at most 100.
    layers : LayerOptions
        Options of the inner layers.

    Raises
    ------
    UserError
        If a value is out of its range.

    Source
    ------
    AdderNet (CVPR 2020), section 4.1, and its authors' code; the distortion is this project's.
    """

    model: str = "lenet5"
    ops: str = "adder"
    data: str = "digits"
    images: int = 0
    epochs: int = 60
    batch: int = 64
    lr: float = 0.1
    seed: int = 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    increase: float = 1.0
    shift: int = 2
    turn: float = 10.0
    zoom: float = 0.1
    flip: bool = False
    optimizer: str = "sgd"
    schedule: str = "cosine"
    warmup: float = 0.0
    smoothing: float = 0.0
    mixup: float = 0.0
    precision: str = "float32"
    teacher: bool = False
    alpha: float = 1.0
    beta: float = 0.03
    balance: float = 0.01
    start: str = ""
    learn_from: str = ""
    temperature: float = 1.0
    layers: LayerOptions = field(default_factory=LayerOptions)

    def __post_init__(self) -> None:
        layers = self.layers
        for name, value, low, high in (
            ("epochs", self.epochs, 1, 10000),
            ("images", self.images, 0, 10**9),
            ("batch", self.batch, 2, 65536),
            ("seed", self.seed, 0, 2**31 - 1),
            ("shift", self.shift, 0, 8),
            ("bits", layers.bits, 2, 8),
            ("terms", layers.terms, 1, 2),
            ("low", 0 if layers.low is None else layers.low, -127, 0),
            ("loops", layers.loops, 1, 4),
        ):
            if not isinstance(value, int) or not low <= value <= high:
                raise UserError(f"{name} must be a whole number from {low} to {high}, not {value}")
        for name, number, most in (
            ("lr", self.lr, 10),
            ("increase", self.increase, 1000),
            ("eta", 1 if layers.eta is None else layers.eta, 10),
            ("fraction", layers.fraction, 1),
            ("latency_ratio", layers.latency_ratio, 100),
            ("temperature", self.temperature, 100),
        ):
            if not 0 < number <= most:
                raise UserError(f"{name} must be above 0 and at most {most}, not {number}")
        for name, number, end in (
            ("momentum", self.momentum, 1),
            ("weight_decay", self.weight_decay, 1),
            ("turn", self.turn, 45),
            ("zoom", self.zoom, 0.5),
            ("alpha", self.alpha, 100),
            ("beta", self.beta, 100),
            ("prune", layers.prune, 1),
            ("sparsity", layers.sparsity, 1),
            ("warmup", self.warmup, 100),
            ("smoothing", self.smoothing, 1),
            ("mixup", self.mixup, 10),
            ("drop_path", layers.drop_path, 1),
            ("balance", self.balance, 10),
        ):
            if not 0 <= number < end:
                raise UserError(f"{name} must be at least 0 and below {end}, not {number}")
        for name, allowed in _CHOICES.items():
            text = getattr(layers if name in _LAYERS else self, name)
            if text not in allowed:
                raise UserError(f"{name} must be one of {', '.join(allowed)}, not {text!r}")

    def lr_at(self, epoch: float) -> float:
        """Return the learning rate after some epochs, whole or not, counted from 0.

        ``cosine`` is half a cosine from `lr` to 0; ``steps`` divides by ten at half and at three
        quarters of the epochs; ``ramp`` is the polygon through 0, `lr` at 2/5, `lr` / 20 at 4/5
        and 0. They have the epochs after `warmup`, in which the rate rises from 0 to their first.
        """
        if epoch < self.warmup:
            return self.lr * epoch / self.warmup
        done = (epoch - self.warmup) / (self.epochs - self.warmup)
        if self.schedule == "steps":
            return self.lr * 0.1 ** ((done >= 0.5) + (done >= 0.75))
        if self.schedule == "ramp":
            if done < 0.4:
                return self.lr * done / 0.4
            if done < 0.8:
                return self.lr * (1 - 0.95 * (done - 0.4) / 0.4)
            return self.lr * 0.05 * (1 - done) / 0.2
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, texts and, for `layers`, a table of them.

        Options that came later are left out where they have their default, so that what is made
        of an older recipe stays equal to the bit.
        """
        found = asdict(self)
        for record, entries in ((self, found), (self.layers, found["layers"])):
            for entry in fields(record):
                if entry.name in _LATER and getattr(record, entry.name) == entry.default:
                    del entries[entry.name]
        return found

    def changes(self) -> dict[str, Any]:
        """Return the fields, those of `layers` among them, that differ from the defaults."""
        base = make_recipe(model=self.model, ops=self.ops, data=self.data)
        found = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name != "layers" and getattr(self, entry.name) != getattr(base, entry.name)
        }
        return found | {
            name: getattr(self.layers, name)
            for name in _LAYERS
            if getattr(self.layers, name) != getattr(base.layers, name)
        }

    def command(self) -> str:
        """Return the command that trains by this recipe."""
        words = ["pyhw", "train", self.model, "--ops", self.ops, "--data", self.data]
        for name, value in self.changes().items():
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            else:
                words += [option, str(0 if value is None else value)]
        return shlex.join(words)


_LATER = ("warmup", "smoothing", "mixup", "balance", "start", "learn_from", "temperature", "low",
          "sliced", "loops", "attention", "mlp", "latency_ratio", "gate_scale",
          "drop_path")  # fmt: skip
"""Fields that came after the graphs of `pyhw/models`, which hold all others."""
_FIRST = ("model", "ops", "data", "epochs", "batch", "lr", "seed", "momentum", "weight_decay",
          "shift", "turn", "zoom")  # fmt: skip
"""Fields of the first checkpoints; those added since take their defaults where they are missing."""


def from_saved(saved: dict[str, Any]) -> Recipe:
    """Return the recipe that a checkpoint holds, of this pyhw or an older one.

    Raises
    ------
    UserError
        If fields are foreign or missing, or a value is out of range.
    """
    layers = dict(saved.get("layers", {}))
    known = {entry.name for entry in fields(Recipe)}
    wrong = (set(saved) - known) | (set(_FIRST) - set(saved)) | (set(layers) - set(_LAYERS))
    if wrong:
        raise UserError(f"The checkpoint's recipe has foreign or missing fields: {min(wrong)}")
    return Recipe(**{**saved, "layers": LayerOptions(**layers)})


def make_recipe(saved: dict[str, Any] | None = None, **options: Any) -> Recipe:
    """Fill in what the user left open: from a saved recipe, or from the tables of defaults.

    Parameters
    ----------
    saved : dict, optional
        Fields of the recipe that a training to be resumed began with.
    **options
        Fields of `Recipe` and of `LayerOptions`; None where the user left one open. An `eta` of
        0 stands for no adaptive step.

    Returns
    -------
    Recipe

    Raises
    ------
    UserError
        If a value is out of range, is not for this kind of layers, or differs from the saved one.
    """
    given = {name: value for name, value in options.items() if value is not None}
    layers = {name: given.pop(name) for name in _LAYERS if name in given}
    if layers.get("eta") == 0:
        layers["eta"] = None
    if saved is not None:
        recipe = from_saved(saved)
        for name, value in (given | layers).items():
            before = getattr(recipe.layers if name in layers else recipe, name)
            if value != before:
                raise UserError(
                    f"{name} is {before} in the training to be resumed, not {value}: "
                    "leave the option out, or start anew with another --out"
                )
        return recipe
    for name, known in (("model", MODELS), ("ops", asked_kinds()), ("data", DATASETS)):
        if name in given and given[name] not in known:
            raise UserError(f"{name} must be one of {', '.join(known)}, not {given[name]!r}")
    network = MODELS[given.get("model", Recipe.model)]
    ops = given.setdefault("ops", network.kinds[0])
    if ops in OPS and ops not in network.kinds:
        raise UserError(
            f"{given['model']} has no batch norm after its layers, which {ops} layers need: choose "
            f"--ops {' or '.join(network.kinds)}"
        )
    for name in network_options() - set(network.options):
        if layers.get(name, getattr(LayerOptions, name)) != getattr(LayerOptions, name):
            having = ", ".join(known for known in MODELS if name in MODELS[known].options)
            raise UserError(f"{name} is an option of {having}: leave it out")
    if layers.get("attention", "softmax") not in network.attention:
        raise UserError(
            f"attention of {given['model']} must be one of {', '.join(network.attention)}, "
            f"not {layers['attention']!r}"
        )
    for name, kinds in used_by().items():
        usual = getattr(Recipe, name, None)
        if ops not in kinds and (name in layers or given.get(name, usual) != usual):
            raise UserError(
                f"{name} is an option of {', '.join(kinds)} layers: leave it out with {ops} layers"
            )
    data = given.get("data", Recipe.data)
    usual = {**defaults(data, ops), **network.recipe.get("", {}), **network.recipe.get(data, {})}
    epochs = given.get("epochs", usual.get("epochs", Recipe.epochs))
    if isinstance(epochs, int) and usual.get("warmup", 0) > epochs / 4:
        usual["warmup"] = epochs / 4
    recipe = Recipe(**{**usual, **given})
    recipe = replace(recipe, layers=replace(recipe.layers, **layers))
    _refuse_idle(recipe, usual)
    return recipe


def _refuse_idle(recipe: Recipe, usual: dict[str, Any]) -> None:
    """Refuse options that nothing would read, and those that exclude each other."""
    layers, shared = recipe.layers, recipe.layers.sharing == "rp"
    lesson = (recipe.alpha, recipe.beta) != (Recipe.alpha, Recipe.beta)
    for wrong, told in (
        (layers.fraction != 1 and not shared, "fraction is read with --sharing rp alone: add that"),
        (shared and layers.fraction == 1, "sharing rp needs a fraction below 1: --fraction 0.01"),
        (layers.prune and not layers.frozen, "prune is for frozen shift layers: add --frozen"),
        (layers.terms == 2 and layers.bits > 5,
         f"two terms have at most 5 bits, not {layers.bits}"),
        (layers.terms == 2 and (layers.low or 0) < -MAX_SPAN,
         f"low must be at least -{MAX_SPAN} with two terms, not {layers.low}"),
        (lesson and not recipe.teacher, "alpha and beta weigh a teacher's lesson: add --teacher"),
        (recipe.momentum != Recipe.momentum and recipe.optimizer != "sgd",
         f"momentum is read by sgd, not by {recipe.optimizer}: leave it out"),
        (recipe.warmup >= recipe.epochs,
         f"warmup must be below the {recipe.epochs} epochs, not {recipe.warmup:g}"),
        (layers.mlp != "moe" and (recipe.balance, layers.latency_ratio, layers.gate_scale)
         != (Recipe.balance, LayerOptions.latency_ratio, LayerOptions.gate_scale),
         "balance, latency_ratio and gate_scale are for routers: add --mlp moe"),
        (recipe.learn_from and recipe.teacher,
         "learn_from names a trained teacher, --teacher trains one beside: leave one out"),
        (recipe.temperature != 1 and not recipe.learn_from,
         "temperature is of a teacher's answers: add --learn-from"),
        (recipe.learn_from and recipe.smoothing != usual.get("smoothing", 0),
         "smoothing is of labels, which a teacher's answers take the place of: leave one out"),
        (recipe.mixup and recipe.teacher,
         "mixup blends labels, which a teacher beside (--teacher) does not read: leave one out"),
        (recipe.smoothing and recipe.teacher,
         "smoothing is of labels, which a teacher beside (--teacher) reads as they are: leave one "
         "out"),
        (recipe.increase != 1 and layers.eta is not None,
         "increase takes the place of the adaptive step: add --eta 0"),
    ):  # fmt: skip
        if wrong:
            raise UserError(told)
