"""What an ensemble can do in part: fewer members, predictions that get better step by step, a budget, lost members."""
