"""Measures of a trained model, and the report that shows them with pictures."""
