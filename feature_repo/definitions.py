"""Every domain's Feast objects as variables of a module, which is where Feast's own command line finds them."""

from __future__ import annotations

from feature_repo.feast_api import Project
from feature_repo.home_stores import DESCRIPTION
from feature_repo.objects import feast_objects
from feature_repo.store import PROJECT
from pipelines import settings
from pipelines.definitions import feature_services

project = Project(name=PROJECT, description=DESCRIPTION)
for _services in feature_services().values():
    globals().update(
        {f"{type(found).__name__} {found.name}": found for found in feast_objects(_services, settings.get())}
    )
