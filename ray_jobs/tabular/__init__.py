"""How is a model of tabular rows trained, measured and saved?

May import `core` and leaf value types of `pipelines`.
A new metric is an entry in the task's `metrics_…` module, a new task a module with a class that implements
`objective.Objective`, and a new setting a field of `recipe.Recipe`.
"""
