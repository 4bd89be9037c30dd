"""What runs on a Ray cluster: programs that train models and compare them.

`core` holds what all programs share, each further package one kind of model.
Of `pipelines` a program imports `errors`, `machine.json_lines` and the value types of `models.program`; of the rest of
the project nothing. It doesn't know Dagster.
The next kind of model is a package beside `tabular`, with a function like `pipelines.models.program.TrainingProgram`.
"""
