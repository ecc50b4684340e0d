"""Runs networks on this machine with onnxruntime, and fits a profile of the machine to such runs.

onnxruntime and numpy are imported inside functions: without them a UsageError names the command that installs them.
"""
