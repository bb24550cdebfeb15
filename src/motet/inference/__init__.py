"""What an ensemble can do: outputs of its members, fewer members, predictions step by step, a budget, lost members."""
