"""Recipes of the methods, the teacher, and what goes wrong in the middle of a training."""

import io
import sys
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

import pyhw
from pyhw.cli import names
from pyhw.cli.main import main
from pyhw.errors import MissingTool, UserError
from pyhw.graph.file import load
from pyhw.nn.models import MODELS, OPS, build_model
from pyhw.nn.options import LayerOptions
from pyhw.nn.shift import ShiftLinear
from pyhw.training import methods, pkkd, recipe, run
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.data import DATASETS
from pyhw.training.guard import Diverged, first_not_finite, out_of_memory
from pyhw.training.loop import Trainer
from pyhw.training.optim import make_optimizer
from pyhw.training.recipe import Recipe, from_saved, make_recipe
from pyhw.training.report import train_with_progress
from tests.support.few_digits import RECIPE, same, weights

# --- names and defaults


@pytest.mark.parametrize(
    ("offered", "known"),
    [
        (names.Data, DATASETS),
        (names.Device, run.DEVICES),
        (names.Optimizer, methods.OPTIMIZERS),
        (names.Schedule, methods.SCHEDULES),
        (names.Precision, recipe.PRECISIONS),
        (names.Gradient, recipe.GRADIENTS),
        (names.Sharing, recipe.SHARINGS),
        (names.Model, MODELS),
        (names.Attention, recipe.ATTENTIONS),
        (names.Mlp, recipe.MLPS),
        (names.OPS, OPS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_command_line_offers_what_there_is(offered, known):
    assert {str(name) for name in offered} == set(known)


def test_every_kind_of_layers_has_its_recipe():
    for name, epochs in {"adder": 400, "conv": 400, "shift-ps": 200, "shift-q": 200,
                         "shiftadd": 160, "pemn": 100}.items():  # fmt: skip
        assert methods.defaults("cifar10", name)["epochs"] == epochs
    found = Recipe(**{"ops": "pemn", "data": "cifar10", **methods.defaults("cifar10", "pemn")})
    assert (found.optimizer, found.schedule, found.epochs, found.flip) == ("adamw", "ramp", 100, 1)
    assert methods.defaults("mnist", "shift-ps")["optimizer"] == "radam"


def test_options_of_layers_are_part_of_the_recipe():
    made = make_recipe(gradient="sign", eta=0, seed=4)
    assert made.layers == LayerOptions(gradient="sign", eta=None)
    assert make_recipe(saved=made.to_dict()) == made
    assert made.command() == (
        "pyhw train lenet5 --ops adder --data digits --seed 4 --gradient sign --eta 0"
    )
    with pytest.raises(UserError, match="gradient is sign in the training to be resumed, not full"):
        make_recipe(saved=made.to_dict(), gradient="full")


def test_recipes_of_older_checkpoints_take_the_defaults():
    old = {name: value for name, value in Recipe().to_dict().items() if name in recipe._FIRST}
    assert make_recipe(saved=old) == Recipe()
    with pytest.raises(UserError, match="foreign or missing fields: colour"):
        make_recipe(saved={**old, "layers": {"colour": 1}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 4}, "bits is an option of shift-ps, shift-q, shiftadd layers: leave it out"),
        ({"ops": "conv", "teacher": True}, "teacher is an option of adder layers"),
        ({"ops": "mul"}, "ops must be one of"),
        ({"model": "lenet6"}, "model must be one of"),
        ({"data": "cats"}, "data must be one of digits, mnist, cifar10, not 'cats'"),
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adamw, radam, not 'lion'"),
        ({"schedule": "flat"}, "schedule must be one of"),
        ({"gradient": "none"}, "gradient must be one of full, sign, not 'none'"),
        ({"eta": -1.0}, "eta must be above 0 and at most 10, not -1.0"),
        ({"alpha": -1.0}, "alpha must be at least 0 and below 100"),
    ],
)
def test_recipe_refuses_what_makes_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        make_recipe(**options)


@pytest.mark.parametrize(
    "layers",
    [{"bits": 9}, {"terms": 3}, {"prune": 1.0}, {"sparsity": -0.5}, {"fraction": 0.0}],
    ids=lambda layers: next(iter(layers)),
)
def test_recipe_refuses_layer_options_out_of_range(layers):
    with pytest.raises(UserError, match=f"{next(iter(layers))} must be"):
        Recipe(layers=LayerOptions(**layers))


def test_schedules_have_their_published_course():
    steps = Recipe(epochs=160, schedule="steps")
    assert [steps.lr_at(epoch) for epoch in (0, 79, 80, 119, 120)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001]
    )
    ramp = Recipe(epochs=100, schedule="ramp", lr=0.05)
    assert [ramp.lr_at(epoch) for epoch in (0, 20, 40, 60, 80, 90, 100)] == pytest.approx(
        [0, 0.025, 0.05, 0.02625, 0.0025, 0.00125, 0]
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW), ("radam", torch.optim.RAdam)],
)
def test_latent_shifts_and_signs_do_not_decay(name, kind):
    layer = ShiftLinear(2, 2, mode="ps")
    layer.kept = nn.Linear(2, 2, bias=False)
    layer.fixed = nn.Parameter(torch.zeros(2), requires_grad=False)
    optimizer = make_optimizer(Recipe(optimizer=name), [layer])
    assert type(optimizer) is kind
    groups = optimizer.param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [
        (1, 5e-4),
        (2, 0),
    ]


def test_the_ramp_is_followed_within_an_epoch(few):
    trainer = Trainer(replace(RECIPE, schedule="ramp", ops="conv", batch=50), few)
    seen = []
    trainer.run_epoch(lambda part: seen.append(trainer.optimizer.param_groups[0]["lr"]))
    assert seen == pytest.approx([trainer.recipe.lr_at(0.25), trainer.recipe.lr_at(0.75)])


# --- teacher


def test_a_student_learns_beside_its_teacher(few):
    trainer = Trainer(replace(RECIPE, teacher=True, epochs=24), few)
    student = weights(Trainer(replace(RECIPE, epochs=24), few))
    assert same(weights(trainer), student)  # the teacher changes nothing of how it begins
    before = [tensor.clone() for tensor in trainer.distillation.state_dict().values()]
    for _ in range(24):
        record = trainer.run_epoch()
    assert record.accuracy > 80
    after = trainer.distillation.state_dict()
    changed = [name for (name, b), a in zip(after.items(), before) if not torch.equal(a, b)]
    assert any(name.startswith("teacher.conv1") for name in changed)
    assert {name for name in after if name.startswith("aligners")} <= set(changed)


def test_the_teacher_learns_from_the_labels_alone(few):
    runs = [Trainer(replace(RECIPE, teacher=True, beta=beta, epochs=1), few) for beta in (0.0, 5.0)]
    for trainer in runs:
        trainer.run_epoch()
    teachers = [list(trainer.distillation.teacher.state_dict().values()) for trainer in runs]
    assert same(*teachers)
    assert not same(*map(weights, runs))


@pytest.mark.parametrize(("options", "words"), [
    ({"ops": "pemn", "fraction": 0.1}, "fraction is read with --sharing rp alone"),
    ({"ops": "pemn", "sharing": "rp"}, "sharing rp needs a fraction below 1"),
    ({"ops": "shiftadd", "prune": 0.5}, "prune is for frozen shift layers"),
    ({"ops": "shiftadd", "terms": 2, "bits": 8}, "two terms have at most 5 bits, not 8"),
    ({"ops": "shiftadd", "terms": 2, "low": -23}, "low must be at least -22 with two terms"),
    ({"ops": "adder", "low": -7}, "low is an option of shift"),
    ({"ops": "shiftadd", "low": 1}, "low must be a whole number from -127 to 0, not 1"),
    ({"alpha": 3.0}, "alpha and beta weigh a teacher's lesson"),
    ({"ops": "pemn", "momentum": 0.5}, "momentum is read by sgd, not by adamw"),
    ({"increase": 5.0}, "increase takes the place of the adaptive step: add --eta 0"),
])  # fmt: skip
def test_options_that_nothing_reads_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        make_recipe(**options)


def test_the_recipe_of_a_graph_in_the_repository_is_written_as_it_was():
    graph = load(pyhw.MODELS / "lenet5_adder_digits.pyhw")
    saved = graph.meta["origin"]["recipe"]
    assert from_saved(saved).to_dict() == saved


def test_layers_are_paired_by_name():
    trainer_model = build_model("lenet5", "adder")
    assert pkkd.paired_layers(trainer_model, build_model("lenet5", "conv")) == [
        "conv2", "conv3", "fc1",
    ]  # fmt: skip
    with pytest.raises(UserError, match="lenet5 has no conv layers to learn from one"):
        pkkd.Distillation(Recipe(ops="conv"), build_model("lenet5", "conv"))


def test_aligned_features_that_agree_are_at_no_distance():
    torch.manual_seed(0)
    aligner = pkkd._Aligner(3)
    features = torch.randn(8, 3, 4, 4)
    assert aligner(features, 5 * features + 7) < 1e-6  # whatever the scale
    assert aligner(features, -features) > 0.1
    assert aligner(torch.randn(8, 3), torch.randn(8, 3)).isfinite()


@pytest.mark.usefixtures("few_everywhere")
def test_training_with_a_teacher_resumes_to_the_same_bits(few, tmp_path):
    begun = replace(RECIPE, teacher=True, epochs=2)
    whole = Trainer(begun, few)
    run.run(whole, tmp_path / "whole.pt")

    def stop(part):
        if trainer.history:
            raise KeyboardInterrupt

    trainer = Trainer(begun, few)
    with pytest.raises(KeyboardInterrupt):
        run.run(trainer, tmp_path / "a.pt", stop)
    resumed, out = run.prepare(tmp_path / "a.pt", resume=True)
    run.run(resumed, out)
    assert same(weights(whole), weights(resumed))
    assert load_checkpoint(out)[1].distillation is None  # a finished one is as small as any


# --- precision, device, logs


def test_bfloat16_keeps_adder_layers_exact(few):
    trainer = Trainer(replace(RECIPE, precision="bfloat16", epochs=1), few)
    seen = {}
    for name in ("conv2", "bn2", "fc2"):
        trainer.model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.setdefault(name, output.dtype) and None
        )
    assert torch.isfinite(torch.tensor(trainer.run_epoch().loss))
    assert seen == {"conv2": torch.float32, "bn2": torch.float32, "fc2": torch.bfloat16}
    assert all(tensor.dtype == torch.float32 for tensor in trainer.model.parameters())


def test_devices_are_chosen_or_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run.choose_device("auto").type == run.choose_device("cpu").type == "cpu"
    with pytest.raises(UserError, match="finds no GPU here: leave --device out"):
        run.choose_device("cuda")
    with pytest.raises(UserError, match="device must be one of auto, cpu, cuda, not 'tpu'"):
        run.choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match="process 1 has no GPU, there are 1: start fewer"):
        run.choose_device("auto")


@pytest.mark.usefixtures("few_everywhere")
def test_epochs_are_logged_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    quiet = Console(file=io.StringIO())
    trainer = train_with_progress(tmp_path / "a.pt", console=quiet, log_dir=tmp_path / "log",
                                  ops="conv", epochs=2)  # fmt: skip
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert events.Scalars("accuracy")[1].value == pytest.approx(trainer.history[1].accuracy)


@pytest.mark.usefixtures("few_everywhere")
def test_logs_without_tensorboard_name_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingTool, match="TensorBoard was not found"):
        train_with_progress(tmp_path / "a.pt", log_dir=tmp_path, console=Console(quiet=True))


# --- what goes wrong


@pytest.mark.usefixtures("few_everywhere")
def test_a_diverging_training_keeps_the_last_good_checkpoint(few, tmp_path):
    trainer = Trainer(replace(RECIPE, ops="conv"), few)

    def spoil(part):
        if trainer.history and part > 0.4:
            with torch.no_grad():
                trainer.model.conv3.weight[0] = float("inf")

    message = (
        r"not a finite number in epoch 2, step 4 of 6; first in the weights of conv3; .*a\.pt "
        r"keeps the 1 epoch\(s\) before: try a lower --lr or another --seed"
    )
    with pytest.raises(Diverged, match=message):
        run.run(trainer, tmp_path / "a.pt", spoil)
    model, meta = load_checkpoint(tmp_path / "a.pt")
    assert meta.epoch == 1
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_the_first_value_that_is_not_finite_is_found():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert first_not_finite(model, torch.full((1, 2), torch.nan)) == "the input"
    assert first_not_finite(model, torch.full((1, 2), 3e38) * model[0].weight.new_ones(())) in (
        "the output of 0", "the loss",
    )  # fmt: skip
    assert first_not_finite(model, torch.zeros(1, 2)) == "the loss"
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    assert first_not_finite(model, torch.full((1, 2), 9.0)) == "the output of 0"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["python", "gpu", "cpu"],
)
def test_lack_of_memory_becomes_advice(error):
    with pytest.raises(UserError, match="for a batch of 256 images: try --batch 128"):
        with out_of_memory(256):
            raise error
    with pytest.raises(UserError, match="for a batch of 2 images: train on a machine with more"):
        with out_of_memory(2):
            raise error


def test_other_failures_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory(256):
        raise RuntimeError("shapes do not match")


@pytest.mark.usefixtures("few_everywhere")
def test_command_takes_the_options_of_methods(tmp_path, capsys):
    out = tmp_path / "a.pt"
    options = ["--gradient", "sign", "--eta", "0", "--lr", "0.01", "--epochs", "1", "--no-teacher"]
    assert main(["train", "lenet5", *options, "--out", str(out)]) == 0
    assert load_checkpoint(out)[1].recipe.layers == LayerOptions(gradient="sign", eta=None)
    assert main(["train", "lenet5", "--bits", "4"]) == 1
    assert "error: bits is an option of shift-ps" in capsys.readouterr().err
