"""What a model is: tensors, nodes and graphs, read from ONNX without touching its weights."""
