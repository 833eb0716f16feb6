import sys

import numpy as np
import pytest

from pyhw.cli.main import main
from pyhw.errors import UserError
from pyhw.examples import EXAMPLES, find_example
from pyhw.graph.execute import run
from pyhw.graph.file import fingerprint, load
from pyhw.graph.infer import formats
from pyhw.graph.statistics import distinct_and_saturated, wanted_distinct
from pyhw.inputs import load_images
from pyhw.synthetic import smooth_images

DRAWN = [name for name, example in EXAMPLES.items() if not example.trained]
BUNDLED = [name for name, example in EXAMPLES.items() if example.bundled]


def check_statistics(graph, images):
    found, types = distinct_and_saturated(graph, images), formats(graph)
    for layer, (distinct, saturated) in found.items():
        assert distinct >= wanted_distinct(types[layer]), layer
        assert saturated < 0.2, layer


def check_torch(graph, images):
    torch = pytest.importorskip("torch")
    from pyhw.graph.torch_export import IntegerModule

    with torch.no_grad():
        values = IntegerModule(graph)(torch.from_numpy(images)).numpy()
    np.testing.assert_array_equal(values, run(graph, images))


def images_for(graph, count):
    """Return images that calibration has not seen."""
    return smooth_images(graph.input.shape, count, seed=1000).astype(np.int64)


@pytest.mark.parametrize("name", [name for name in BUNDLED if name in DRAWN])
def test_a_bundled_example_uses_its_formats_and_equals_the_torch_export(name):
    graph = load(EXAMPLES[name].path)
    check_statistics(graph, images_for(graph, 4))
    check_torch(graph, images_for(graph, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "resnet20-shiftadd", pytest.param("convmixer-256-6-pemn", marks=pytest.mark.long)])
def test_an_example_made_here_uses_its_formats_and_equals_the_torch_export(
    name, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    monkeypatch.setattr("pyhw.examples.draw.CALIBRATION", 64)  # a quarter, for the time it takes
    path = tmp_path / "made.pyhw"
    assert main(["example", name, "--seed", "1", "--exponent", "8", "--out", str(path)]) == 0
    graph = load(path)
    check_statistics(graph, images_for(graph, 4))
    check_torch(graph, images_for(graph, 2))
    assert "--seed 1 --exponent 8" in graph.meta["command"]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_file_says_whether_its_weights_are_trained(name, tmp_path, capsys):
    path = tmp_path / "copy.pyhw"
    assert main(["example", name, "--out", str(path)]) == 0
    made, bundled = load(path), load(EXAMPLES[name].path)
    assert (fingerprint(made), made.meta) == (fingerprint(bundled), bundled.meta)
    assert path.stat().st_size < 1_000_000
    graph = load(path)
    assert ("weights" in graph.meta) == (name in DRAWN)
    assert ("accuracy" in graph.meta) == EXAMPLES[name].trained
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    assert ("not trained" in capsys.readouterr().out) == (name in DRAWN)


def test_seeds_draw_different_weights_and_the_same_ones_again():
    pytest.importorskip("torch")
    from pyhw.examples.draw import draw_model

    first, again, other = (draw_model("ds-cnn-adder", seed).state_dict() for seed in (3, 3, 4))
    for name, value in first.items():
        assert value.equal(again[name]), name
    assert not first["block1.pointwise.weight"].equal(other["block1.pointwise.weight"])


def test_drawn_adder_weights_have_the_published_statistics():
    pytest.importorskip("torch")
    from pyhw.examples.draw import draw_model
    from pyhw.nn.kinds.adders import SCALE

    weight = draw_model("ds-cnn-adder").block1.pointwise.weight.detach().double()
    scale = weight.abs().mean().item()
    assert scale == pytest.approx(SCALE, rel=0.06)
    # A Laplacian has the kurtosis 6, a Gaussian 3.
    assert ((weight**4).mean() / (weight**2).mean() ** 2).item() > 4.5


def test_drawing_leaves_the_global_random_state():
    torch = pytest.importorskip("torch")
    from pyhw.examples.draw import draw_model

    before = torch.get_rng_state()
    draw_model("ds-cnn-adder")
    assert torch.equal(before, torch.get_rng_state())


def test_trained_examples_are_not_drawn():
    pytest.importorskip("torch")
    from pyhw.examples.draw import draw_model

    with pytest.raises(UserError, match="cannot be drawn"):
        draw_model("lenet5-adder-digits")


def test_the_list_names_every_example(capsys):
    assert main(["example"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in EXAMPLES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alexnet"], "example must be one of resnet20-adder"),
        (["lenet5-adder-digits", "--seed", "3"], "leave out all options but --out"),
        (["lenet5-adder-digits", "--weight-bits", "5"],
         "leave out all options but --out"),
        (["resnet8-adder", "--exponent", "1"], "exponent must be a whole number from 2 to 16"),
        (["--out", "x.pyhw"], "needs the name of an example"),
        (["resnet8-adder", "--out", "/"], "it is a folder"),
    ],
)
def test_mistakes_are_one_line(arguments, words, capsys):
    assert main(["example", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_without_pytorch_what_needs_it_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["example", "resnet8-adder", "--seed", "1", "--out", str(tmp_path / "x.pyhw")]) == 1
    assert "pip install '.[train]'" in capsys.readouterr().err
    assert main(["example", "resnet8-adder", "--out", str(tmp_path / "x.pyhw")]) == 0


def test_unknown_examples_are_named():
    with pytest.raises(UserError, match="not 'x'"):
        find_example("x")


def test_smooth_images_are_smooth_and_a_longer_run_begins_with_the_shorter():
    images = smooth_images((32, 32, 3), 8, seed=5).astype(int)
    np.testing.assert_array_equal(images[:3], smooth_images((32, 32, 3), 3, seed=5))
    assert (images[:3] != smooth_images((32, 32, 3), 3, seed=6)).mean() > 0.9
    spread = images.std(axis=(1, 2)).mean()
    assert spread > 25
    assert np.abs(np.diff(images, axis=1)).mean() < spread / 4


def test_smooth_images_fit_any_input():
    graph = load(EXAMPLES["ds-cnn-adder"].path)
    images, labels = load_images(graph, "smooth", 2, seed=1)
    assert images.shape == (2, 10, 49, 1)
    assert labels is None
    assert (images != load_images(graph, "smooth", 2, seed=2)[0]).any()
    assert (load_images(graph, "random", 2, seed=1)[0] != load_images(graph, "random", 2)[0]).any()


def test_digits_for_another_size_points_to_smooth_images():
    graph = load(EXAMPLES["ds-cnn-adder"].path)
    with pytest.raises(UserError, match="--data smooth"):
        load_images(graph, "digits", 2)
