"""Predict how well networks generalize from their weights, without running them."""

from lopt.predict.fit import TrainingBudget, fit
from lopt.predict.models import PREDICTORS, Model, NeuronModel, StatNNModel, UNFModel
from lopt.predict.predictor import Predictor, load, save

__all__ = [
    "PREDICTORS",
    "Model",
    "NeuronModel",
    "Predictor",
    "StatNNModel",
    "TrainingBudget",
    "UNFModel",
    "fit",
    "load",
    "save",
]
