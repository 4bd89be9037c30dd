"""How is a binary classifier of tabular rows trained, measured and saved?

May import `core` and leaf value types of `pipelines`.
A new metric is an entry in `evaluate.METRICS`; a new setting is a field of `recipe.Recipe`.
"""
