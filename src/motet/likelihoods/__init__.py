"""Likelihoods, which compute losses and predictions from natural parameters, the outputs of the network.

A natural exponential family has natural parameter eta, mean ``ybar = f^-1(eta)`` and log-normaliser ``A(eta)``: ``NLL =
A(eta) - eta y - log h(y)`` (Joint training of Neural Network Ensembles, section 2, https://arxiv.org/abs/1902.04422).
Members are combined as a mixture (the mean of the members' distributions) or as a normalised geometric mean (the
distribution at the mean natural parameter).
"""

from motet.likelihoods.base import Combination, Likelihood, NaturalExponentialFamily, TargetKind
from motet.likelihoods.bernoulli import Bernoulli
from motet.likelihoods.categorical import Categorical
from motet.likelihoods.class_axis import AtPositions
from motet.likelihoods.gaussian import Gaussian
from motet.likelihoods.heteroscedastic import HeteroscedasticGaussian
from motet.likelihoods.normal_mixtures import gaussian_crps
from motet.likelihoods.poisson import Poisson

__all__ = [
    "AtPositions",
    "Bernoulli",
    "Categorical",
    "Combination",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Likelihood",
    "NaturalExponentialFamily",
    "Poisson",
    "TargetKind",
    "gaussian_crps",
]
