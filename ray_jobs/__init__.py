"""What runs on a Ray cluster: programs that train models and compare them.

`core` holds what all programs share, each further package one kind of model.
A program imports leaf value types of `pipelines` and nothing else of the project; it doesn't know Dagster.
The next kind of model is a package beside `tabular`, with a function like `pipelines.models.program.TrainingProgram`.
"""
