"""The queue as fal has it, over the same generations: an application of its own, since every path is a model's name."""
