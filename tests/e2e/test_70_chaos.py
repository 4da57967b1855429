"""Processes that die, restart and drain: nobody has to repair anything by hand."""
