"""How a network is trained: batches, transforms, optimizer, callbacks, checkpoints, TensorBoard."""
