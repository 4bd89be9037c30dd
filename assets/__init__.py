"""Which things exist?

One folder per data domain with everything that is particular to it: contracts, transforms, features, the model.
May import `pipelines` and `feature_repo`; `ray_jobs` and `serving` inside functions.
"""
