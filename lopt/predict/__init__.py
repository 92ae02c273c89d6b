"""Predict how well networks generalize from their weights, without running them."""

from lopt.predict.fit import Budget, fit
from lopt.predict.models import PREDICTORS, Model, NeuronModel, StatNNModel, UNFModel
from lopt.predict.predictor import Predictor, load, save

__all__ = [
    "PREDICTORS",
    "Budget",
    "Model",
    "NeuronModel",
    "Predictor",
    "StatNNModel",
    "UNFModel",
    "fit",
    "load",
    "save",
]
