"""Forms of weights, one module each: how real weights become those of a convolution."""

from . import distances, powers, products
from .base import FORMS, Quantised, ReadWeights, WeightForm, form_of, weight_form

__all__ = ["FORMS", "Quantised", "ReadWeights", "WeightForm", "distances", "form_of", "powers",
           "products", "weight_form"]  # fmt: skip
