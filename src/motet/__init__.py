"""Several independent predictors inside one neural network, read out as an ensemble."""

__version__ = "0.1.0"
