"""The commands: one file each, holding a click command called `command`; its docstring is its help.

A module is imported when its command is needed, and for the list in `effcli --help`: what takes
time to import (onnx, numpy, rich) is imported inside the functions.
"""
