"""`python -m pipelines` is `goldpath`."""

from pipelines.commands.app import app

app()
