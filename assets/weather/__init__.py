"""The hourly weather at the three New York airports in 2013, and the model that predicts the temperature ahead."""
