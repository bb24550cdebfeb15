"""Inference with an ensemble: its members' outputs, subsets, stepwise predictions, budgets, lost members."""
