"""Hostile visitors, hostile connectors, a hostile edge: a clean refusal, and everybody else is served."""
