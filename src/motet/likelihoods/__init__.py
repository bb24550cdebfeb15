"""Likelihoods: from a member's natural parameter (the network's output) to losses and predictions.

Natural exponential family with natural parameter eta, mean ``ybar = f^-1(eta)`` and log-normaliser ``A(eta)``:
``NLL = A(eta) - eta y - log h(y)`` (Joint training of Neural Network Ensembles, section 2). Members are combined
as a mixture (mean of the members' distributions) or as a normalised geometric mean (the distribution at the mean
natural parameter).
"""

from motet.likelihoods.base import Combination, Likelihood, NaturalExponentialFamily, TargetKind
from motet.likelihoods.bernoulli import Bernoulli
from motet.likelihoods.categorical import Categorical
from motet.likelihoods.gaussian import Gaussian
from motet.likelihoods.heteroscedastic import HeteroscedasticGaussian
from motet.likelihoods.normal_mixtures import gaussian_crps
from motet.likelihoods.poisson import Poisson

__all__ = [
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
