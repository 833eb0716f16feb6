"""Several processes: the path of one with the whole batch, and who writes."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from pyhw.errors import UserError
from pyhw.training.checkpoint import load_checkpoint
from pyhw.training.loop import Trainer
from pyhw.training.parallel import ALONE, Processes, average_gradients, join
from pyhw.training.recipe import Recipe, make_recipe
from tests.support.few_digits import few_digits

SCRIPT = """
import sys, warnings
warnings.simplefilter("error")
from tests.support.few_digits import few_digits
from pyhw.training import run
run.load_dataset = lambda name, folder: few_digits()
from pyhw.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def _launch(folder, *options):
    script = folder / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(
        [os.getcwd(), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
               str(script), "train", "lenet5", "--epochs", "2", *options]  # fmt: skip
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_two_processes_follow_the_path_of_one(tmp_path):
    # With a teacher there are adder layers, convolutions, batch norms and aligners to share.
    recipe = make_recipe(epochs=2, batch=20, lr=0.02, teacher=True)
    alone = Trainer(recipe, few_digits())
    losses = [alone.run_epoch().loss for _ in range(2)]
    done = _launch(tmp_path, "--batch", "20", "--lr", "0.02", "--teacher", "--out",
                   str(tmp_path / "a.pt"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1  # process 0 alone prints
    assert "2 processes share each batch of 20" in done.stdout
    model, meta = load_checkpoint(tmp_path / "a.pt")
    assert [record.loss for record in meta.history] == pytest.approx(losses, rel=2e-3)
    for name, tensor in alone.model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0.02, atol=0.02)


def test_a_batch_that_cannot_be_shared_is_refused(few):
    with pytest.raises(UserError, match="batch must be a multiple of the 2 processes"):
        Trainer(Recipe(batch=15), few, processes=Processes(rank=0, size=2))
    with pytest.raises(UserError, match="two images each at least, not 2"):
        Trainer(Recipe(batch=2), few, processes=Processes(rank=0, size=2))


def test_a_single_process_needs_no_partner(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join(torch.device("cpu")) is ALONE
    average_gradients([nn.Parameter(torch.ones(1))], ALONE)
    assert ALONE.total(torch.tensor(3.0)) == 3


def test_processes_that_cannot_join_say_how_to_start(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"cannot join .*torchrun --nproc-per-node N -m pyhw train"):
        join(torch.device("cpu"))
