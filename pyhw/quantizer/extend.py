"""What becomes part of a stage: each function returns None where the stage has no room for it."""

from dataclasses import replace

from .activations import RELU, Activation
from .stage import Affine, Norm, Residual, Stage

__all__ = ["with_activation", "with_norm", "with_residual"]


def with_norm(stage: Stage, norm: Norm) -> Stage | None:
    """Return a stage with a batch norm after it."""
    if stage.relu2:
        return None
    if stage.activation is None and stage.second is None:
        return replace(stage, first=stage.first.then(norm))
    return replace(stage, second=(stage.second or Affine()).then(norm))


def with_activation(stage: Stage, activation: Activation) -> Stage | None:
    """Return a stage with an activation after it."""
    if stage.second is not None:
        return replace(stage, relu2=True) if activation is RELU else None
    return replace(stage, activation=activation) if stage.activation is None else None


def with_residual(stage: Stage, residual: Residual) -> Stage | None:
    """Return a stage with a stored value added."""
    if stage.relu2:
        return None
    if stage.activation is None and stage.second is None and stage.first.residual is None:
        return replace(stage, first=replace(stage.first, residual=residual))
    second = stage.second or Affine()
    if second.residual is not None:
        return None
    return replace(stage, second=replace(second, residual=residual))
