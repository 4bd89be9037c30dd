"""`python -m pipelines` is `goldpath`."""

from pipelines.cli import app

app()
