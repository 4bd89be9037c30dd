"""The texts of the installed Python packages: their metadata and docstrings, and the models that learn from them."""
