"""What runs on a Ray cluster: programs that train models and compare them.

`core` holds what all programs share, each further package one kind of model.
Of `pipelines` they import `errors`, `settings`, `machine.files`, `machine.locks`, and of `models` the value types and
the digest of a model's files; of the rest of the project nothing. They don't know Dagster.
The next kind of model is a package beside `tabular` and `text`, with a class that implements `core.program.Program`.
"""
