"""The behaviour test: questions of our own for a model in quarantine, and pure judges of what it really wrote.

Two results that are never mixed: `integrity` gates (what the model does unasked), `conduct` is a grade that is shown.
"""
