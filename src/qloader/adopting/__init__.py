"""Collections that another tool filled: read as they are, their texts compared with the chunks of a plan.

Never writes a collection. Knows nothing of the config, the sources or the state, and makes no vectors.
"""
