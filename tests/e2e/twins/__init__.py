"""Twins: what one connector makes of a request, another must make of it too. See test_50_twins.py."""
